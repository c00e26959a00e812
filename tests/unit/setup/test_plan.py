"""What a setup would change, for the three ways in which Asterisks are laid out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import yaml
from attrs import evolve

from c2c_agent.config.parse import parse
from c2c_agent.config.pbx import AsteriskConfig
from c2c_agent.setup.asterisk_conf import SetupError, block_of, without_block
from c2c_agent.setup.files import shipped
from c2c_agent.setup.plan import (
    AMI_USER,
    BRIDGE,
    FIRST,
    NO_VOICEMAIL,
    AllowMissingError,
    Change,
    Kind,
    Place,
    Wishes,
    shown,
)
from tests.unit.setup.layouts import (
    DEBIAN,
    ETC,
    FREEPBX,
    GENERAL,
    LAYOUTS,
    PLAIN,
    SECRET_FILE,
    WISHES,
    YML,
    after,
    changed,
    found,
    plan,
)


class TestLayouts:
    """Where the AMI user and the includes go."""

    def test_debian(self) -> None:
        """A folder that is included takes the AMI user; included files come before includes."""
        assert changed(found(DEBIAN)) == [
            YML,
            SECRET_FILE,
            f"{ETC}/{FIRST}",
            f"{ETC}/{BRIDGE}",
            f"{ETC}/{AMI_USER}",
            f"{ETC}/extensions.conf",
        ]
        files = after(found(DEBIAN))
        assert files[f"{ETC}/{AMI_USER}"] == shipped()[AMI_USER].replace("CHANGE_ME", "c2c_ami")
        assert files[SECRET_FILE] == "c2c_ami\n"
        assert files[f"{ETC}/extensions.conf"].startswith(DEBIAN["extensions.conf"])
        block = block_of(files[f"{ETC}/extensions.conf"])
        assert block is not None
        assert '\n#include "c2c-first.conf"\n#include "c2c-bridge.conf"\n' in block

    def test_plain(self) -> None:
        """Without that folder, manager.conf gets the section in a block."""
        files = after(found(PLAIN))
        assert f"{ETC}/{AMI_USER}" not in files
        manager = files[f"{ETC}/manager.conf"]
        assert "\n[c2c-agent]\n" in manager
        assert "\nsecret = c2c_ami\n" in manager
        assert without_block(manager) == GENERAL

    @pytest.mark.parametrize(
        "line",
        [';#include "manager.d/*.conf"', ';--\n#include "manager.d/*.conf"\n--;', "; manager.d"],
    )
    def test_include_in_a_comment(self, line: str) -> None:
        """An include that is commented out is none."""
        files = found({**PLAIN, "manager.conf": f"{GENERAL}{line}\n"})
        assert f"{ETC}/manager.conf" in changed(files)

    def test_freepbx(self) -> None:
        """FreePBX writes its own files anew: only the custom ones are touched."""
        files = after(found(FREEPBX))
        for name in ("manager.conf", "extensions.conf", "extensions_additional.conf"):
            assert files[f"{ETC}/{name}"] == FREEPBX[name]
        assert "[c2c-agent]" in files[f"{ETC}/manager_custom.conf"]
        assert '#include "c2c-bridge.conf"' in files[f"{ETC}/extensions_custom.conf"]
        assert yaml.safe_load(files[YML])["asterisk"] == {"freepbx": True}

    @LAYOUTS
    def test_times_of_events(self, layout: Mapping[str, str]) -> None:
        """AMI is asked for them where the user stands, in the section that is there."""
        asks = "\n[general](+)\ntimestampevents = yes\n\n[c2c-agent]\n"
        assert any(asks in text for text in after(found(layout)).values())

    @pytest.mark.parametrize("manager", [DEBIAN["manager.conf"], FREEPBX["manager.conf"]])
    def test_general_comes_later(self, manager: str) -> None:
        """Asterisk refuses the whole of manager.conf if a file reopens what is not there yet."""
        layout = FREEPBX if "custom" in manager else DEBIAN
        turned = manager.removeprefix(GENERAL) + GENERAL
        files = after(found({**layout, "manager.conf": turned}))
        (user,) = [text for text in files.values() if "\n[c2c-agent]\n" in text]
        assert "general" not in user.partition("\n\n")[2]
        assert "timestampevents" not in user

    def test_freepbx_without_custom_files(self) -> None:
        """They are made."""
        files = {name: text for name, text in FREEPBX.items() if "custom" not in name}
        assert f"{ETC}/extensions_custom.conf" in changed(found(files))

    @LAYOUTS
    def test_second_time(self, layout: Mapping[str, str]) -> None:
        """What is set up needs no change, also with words of the admin's after the block."""
        files = after(found(layout))
        assert changed(files) == []
        assert plan(files).key is None
        again = {path: f"{text}; mine\n" for path, text in files.items() if "extensions" in path}
        assert changed({**files, **again}) == []

    def test_second_time_with_a_user_of_the_admin_s_behind_the_block(self) -> None:
        """The agent's own user stays where it is, and so does what stands behind it."""
        files = after(found(PLAIN))
        files[f"{ETC}/manager.conf"] += "[panel]\nsecret = x\n"
        assert changed(files) == []

    @pytest.mark.parametrize("name", ["manager.conf", "extensions.conf"])
    def test_no_asterisk_here(self, name: str) -> None:
        """A folder without Asterisk's files is the wrong one."""
        files = {other: text for other, text in PLAIN.items() if other != name}
        with pytest.raises(SetupError, match=rf"{name} is not there: .* --asterisk-dir"):
            plan(found(files))


class TestWhatIsThere:
    """Parts that somebody has set up by hand stay."""

    def test_by_hand(self) -> None:
        """As asterisk-conf/README.md says it: only what is missing is made."""
        files = after(found(DEBIAN))
        own = shipped()[FIRST] + "; mine\n"
        by_hand = {
            **files,
            f"{ETC}/{FIRST}": own,
            f"{ETC}/extensions.conf": "#include <c2c-first.conf>\n #tryinclude c2c-bridge.conf;x\n",
        }
        assert changed(by_hand) == []

    def test_one_include_by_hand(self) -> None:
        """The block has the other."""
        files = found({**PLAIN, "extensions.conf": '#include "/etc/asterisk/c2c-first.conf"\n'})
        text = after(files)[f"{ETC}/extensions.conf"]
        assert text.count("c2c-first.conf") == 1
        assert text.count("c2c-bridge.conf") == 1

    def test_bridge_of_another_version(self) -> None:
        """c2c-bridge.conf is ours: an upgrade replaces it."""
        files = {**after(found(PLAIN)), f"{ETC}/{BRIDGE}": "; old\n"}
        assert changed(files) == [f"{ETC}/{BRIDGE}"]

    def test_secret_of_asterisk(self) -> None:
        """A user that is there lends its secret to the agent."""
        section = "[c2c-agent]\nsecret = a\\;b ; mine\n"
        files = found({**PLAIN, "manager.conf": GENERAL + section})
        assert after(files)[SECRET_FILE] == "a;b\n"

    def test_secret_of_the_agent(self) -> None:
        """And the other way round."""
        files = after(found(PLAIN, secret="a;b\n"))
        assert "\nsecret = a\\;b\n" in files[f"{ETC}/manager.conf"]
        assert changed(files) == []

    def test_two_secrets(self) -> None:
        """Which of two is right, nobody knows; neither is shown."""
        files = found(
            {**PLAIN, "manager.conf": f"{GENERAL}[c2c-agent]\nsecret=one\n"}, secret="two"
        )
        with pytest.raises(SetupError, match="different secrets") as caught:
            plan(files)
        assert "one" not in str(caught.value).split()
        assert "two" not in str(caught.value).split()

    @pytest.mark.parametrize("setting", ["secret = CHANGE_ME", "read = call"])
    def test_half_a_user(self, setting: str) -> None:
        """A user without a secret is for the admin to complete."""
        files = found({**DEBIAN, AMI_USER: f"[c2c-agent]\n{setting}\n"})
        with pytest.raises(SetupError, match=r"manager\.d/c2c-agent\.conf"):
            plan(files)

    @LAYOUTS
    @pytest.mark.parametrize(
        ("address", "more"),
        [
            ("192.0.2.7", "permit = 192.0.2.7/32\n"),
            ("2001:db8::7", "permit = 2001:db8::7/128\n"),
            ("[2001:db8::7]", "permit = 2001:db8::7/128\n"),
            ("127.0.0.9", ""),
            ("pbx.example.com", ""),
        ],
    )
    def test_ami_on_an_address_of_its_own(
        self, layout: Mapping[str, str], address: str, more: str
    ) -> None:
        """The agent on this host comes to it from that very address, and is let in."""
        general = layout["manager.conf"].replace("127.0.0.1", address)
        made = plan(found({**layout, "manager.conf": general})).changes
        (user,) = [change.after for change in made if "[c2c-agent]" in change.after]
        assert f"\npermit = 127.0.0.0/255.0.0.0\n{more}permit = ::1/128\n" in user

    def test_other_user(self) -> None:
        """The name is the one that the agent logs in with."""
        place = Place(ETC, YML, SECRET_FILE, username="c2c2")
        (change,) = [
            change
            for change in plan(found(PLAIN, yml="keys: []"), place=place).changes
            if change.kind is Kind.AMI
        ]
        assert "\n[c2c2]\n" in change.after


class TestIncluded:
    """Asterisk's configuration as Asterisk reads it: with what is included, and by templates."""

    @pytest.mark.parametrize(
        ("include", "file"),
        [
            ('#include "general.conf"', "general.conf"),
            ("#include general.d/*.conf", "general.d/ami.conf"),
            ("#tryinclude <ami/general.conf>", "ami/general.conf"),
            (f"#include {ETC}/general.conf", "general.conf"),
        ],
    )
    def test_ami_is_on_in_an_included_file(self, include: str, file: str) -> None:
        """No second [general] is written, and its port and address are taken."""
        general = "[general]\nenabled = yes\nport = 5039\nbindaddr = 127.0.0.9\n"
        files = after(found({**PLAIN, "manager.conf": f"{include}\n", file: general}))
        assert "[general]\n" not in files[f"{ETC}/manager.conf"]
        ami = yaml.safe_load(files[YML])["asterisk"]["ami"]
        assert ami == {"host": "127.0.0.9", "port": 5039}

    def test_ami_is_off_in_an_included_file(self) -> None:
        """It is switched on in that section, which is added to."""
        layout = {**PLAIN, "manager.conf": "#include a.conf\n", "a.conf": "#include b.conf\n"}
        files = after(found({**layout, "b.conf": "[general]\nenabled = no\n"}))
        assert "[general](+)\nenabled = yes" in files[f"{ETC}/manager.conf"]

    @pytest.mark.parametrize(
        ("manager", "on"),
        [
            ("[t](!)\nenabled = yes\n[general](t)\n", True),
            ("[t](!)\nenabled = yes\n[general](t)\nenabled = no\n", False),
            ("[t](!)\nenabled = no\n[t](+)\nenabled = yes\n[general](t)\n", True),
            ("[general](!)\nenabled = yes\n", False),
            ("[general]\nenabled = no\n[general](+)\nenabled = yes\n", True),
            ("[general]\nenabled = no\n[general]\nenabled = yes\n", False),
            ("[other]\nenabled = yes\n[general](other)\n", True),
        ],
    )
    def test_templates_and_additions(self, manager: str, on: bool) -> None:
        """As main/config.c has them; of a second section of a name nothing counts."""
        files = after(found({**PLAIN, "manager.conf": manager}))
        assert ("AMI was off" in files[f"{ETC}/manager.conf"]) is not on
        assert changed(files) == []

    def test_a_user_by_a_template(self) -> None:
        """It is there already, with the secret of its template, and is not written again."""
        user = "[base](!)\nsecret = theirs\n[c2c-agent](base)\nread = call\n"
        files = after(found({**PLAIN, "manager.conf": GENERAL + user}))
        assert files[f"{ETC}/manager.conf"] == GENERAL + user
        assert files[SECRET_FILE] == "theirs\n"

    def test_a_user_in_an_included_file(self) -> None:
        """Wherever that file is."""
        layout = {**PLAIN, "manager.conf": GENERAL + "#include ami/users.conf\n"}
        user = "[c2c-agent]\nsecret = theirs\n"
        files = after(found({**layout, "ami/users.conf": user}))
        assert files[f"{ETC}/manager.conf"] == layout["manager.conf"]
        assert files[SECRET_FILE] == "theirs\n"

    def test_a_circle(self) -> None:
        """Asterisk goes ten files deep, and so does the setup."""
        layout = {**PLAIN, "manager.conf": GENERAL + "#include manager.conf\n"}
        assert plan(found(layout)).changes

    def test_contexts_of_an_included_file(self) -> None:
        """The dialplan's includes may stand in a file that extensions.conf includes."""
        own = '#include "c2c-first.conf"\n#include "c2c-bridge.conf"\n'
        layout = {**PLAIN, "extensions.conf": "#include own.conf\n", "own.conf": own}
        assert f"{ETC}/extensions.conf" not in changed(found(layout))

    def test_a_command(self) -> None:
        """It is named, and not run: whatever it prints is not known."""
        layout = {**PLAIN, "manager.conf": GENERAL + "#exec /usr/bin/users --all\n"}
        [note] = plan(found(layout), evolve(WISHES, allow=WISHES.allow)).notes
        assert f"{ETC}/manager.conf has #exec /usr/bin/users --all: it was not run" in note


class TestChown:
    """`fwconsole chown` of a FreePBX gives the file with the AMI secret to everybody."""

    LINE = f"file = {ETC}/manager_custom.conf,0640,asterisk,asterisk\n"

    def test_kept_closed(self) -> None:
        """FreePBX is told to leave it so; once."""
        files = after(found(FREEPBX))
        assert f"[custom]\n{self.LINE}" in files[f"{ETC}/freepbx_chown.conf"]
        assert changed(files) == []

    def test_other_sections(self) -> None:
        """They stay as they are."""
        own = "[blacklist]\ndirectory = /srv/own\n"
        files = after(found({**FREEPBX, "freepbx_chown.conf": own}))
        assert without_block(files[f"{ETC}/freepbx_chown.conf"]) == own
        assert self.LINE in files[f"{ETC}/freepbx_chown.conf"]

    def test_a_section_of_the_admins(self) -> None:
        """A second one might count or not: what to put into it is said."""
        own = "[custom]\nfile = /srv/own,0600,root,root\n"
        files = found({**FREEPBX, "freepbx_chown.conf": own})
        assert f"{ETC}/freepbx_chown.conf" not in changed(files)
        assert any(self.LINE.strip() in note for note in plan(files).notes)

    def test_no_freepbx(self) -> None:
        """Nobody else has such a command."""
        assert not any("chown" in path for path in changed(found(DEBIAN)))


class TestAmiIsOff:
    """AMI switched on, for this host alone."""

    @pytest.mark.parametrize(
        ("general", "block"),
        [
            ("", "[general]\nenabled = yes\ntimestampevents = yes\nbindaddr = 127.0.0.1\n"),
            ("[general]\n;port=5039\n", "[general](+)\nenabled = yes\nbindaddr = 127.0.0.1\n"),
            ("[general]\nport=5039\n", "[general](+)\nenabled = yes\nbindaddr = 127.0.0.1\n"),
            (
                "[general]\nenabled = no\nbindaddr = 0.0.0.0\n",
                "[general](+)\nenabled = yes\nbindaddr = 127.0.0.1\n",
            ),
            (
                "[general]\nenabled = no\nbindaddr = 127.0.0.9\n",
                "[general](+)\nenabled = yes\n",
            ),
        ],
    )
    @pytest.mark.parametrize("include", ["", '#include "manager.d/*.conf"\n'])
    def test_switched_on(self, general: str, block: str, include: str) -> None:
        """Once; and nothing else than what has to be."""
        files = after(found({**PLAIN, "manager.conf": general + include}))
        manager = files[f"{ETC}/manager.conf"]
        assert f"\n; AMI was off.\n{block}\n" in manager
        assert without_block(manager) == general + include
        assert ("[c2c-agent]" in manager) is not bool(include)
        assert changed(files) == []
        assert plan(files, evolve(WISHES, allow=[])).notes == []

    def test_switched_off_later(self) -> None:
        """The user that stands in the block already stays there."""
        files = after(found(PLAIN))
        manager = files[f"{ETC}/manager.conf"]
        off = {**files, f"{ETC}/manager.conf": manager.replace("enabled = yes", "enabled = no")}
        again = after(off)[f"{ETC}/manager.conf"]
        assert "\n[general](+)\nenabled = yes\n\n" in again
        assert again.count("[c2c-agent]") == 1


class TestEditedBlock:
    """A block into which the admin wrote."""

    def test_settings_of_the_user(self) -> None:
        """The AMI user in it is the admin's to edit."""
        files = after(found(PLAIN))
        manager = files[f"{ETC}/manager.conf"].replace("read = call", "read = call,dialplan")
        assert changed({**files, f"{ETC}/manager.conf": manager}) == []

    def test_line_lost(self) -> None:
        """A missing include comes back, and nothing else changes."""
        files = after(found(PLAIN))
        text = files[f"{ETC}/extensions.conf"]
        less = text.replace('#include "c2c-bridge.conf"\n', "")
        assert after({**files, f"{ETC}/extensions.conf": less}) == files

    def test_line_added(self) -> None:
        """A line that we did not write is not thrown away."""
        files = after(found(PLAIN))
        text = files[f"{ETC}/extensions.conf"]
        more = text.replace('#include "c2c-bridge.conf"\n', '#include "mine.conf"\n')
        with pytest.raises(SetupError, match=r"extensions\.conf: the block .* was edited"):
            plan({**files, f"{ETC}/extensions.conf": more})


class TestConfiguration:
    """The agent's own file."""

    def test_new(self) -> None:
        """It can be used; the key is told, and only its digest stands there."""
        files = after(found(PLAIN))
        config = parse([(YML, yaml.safe_load(files[YML]))], server_id="pbx1")
        (key,) = config.keys
        assert [pattern.text for pattern in key.allow] == ["_1XX", "200"]
        assert "c2c_key" not in files[YML]
        assert plan(found(PLAIN)).key == "c2c_key"

    def test_what_is_no_default(self) -> None:
        """Another port of AMI and another place of the secret are written down."""
        place = Place(ETC, "/opt/c2c.yml", "/opt/ami.secret")
        general = "[general]\nenabled=yes\nport=5039\nbindaddr=192.0.2.7\n"
        files = found({**PLAIN, "manager.conf": general})
        document = yaml.safe_load(plan(files, place=place).changes[0].after)
        assert document["asterisk"] == {
            "ami": {"host": "192.0.2.7", "port": 5039, "secret_file": "/opt/ami.secret"}
        }

    def test_no_silent_default(self) -> None:
        """What the first key may dial has to be said, where there is none yet."""
        nothing = Wishes([], key="c2c_key", ami_secret="c2c_ami")
        with pytest.raises(AllowMissingError, match="--allow _1XX"):
            plan(found(PLAIN), nothing)
        assert plan(found(PLAIN, yml="keys: []"), nothing).key is None

    def test_repr_tells_no_secret(self) -> None:
        """Neither of the plan nor of what it is made of."""
        assert "c2c_" not in repr(WISHES) + repr(plan(found(PLAIN)))


class TestNotes:
    """What setup does not change, but the admin should know."""

    def test_all_well(self) -> None:
        """Nothing to say."""
        assert plan(found(DEBIAN)).notes == []

    def test_ami_that_would_listen_to_a_network(self) -> None:
        """It is not switched on for the admin, for that opens a port."""
        general = "[general]\nenabled = no\nbindaddr = 192.0.2.7\n"
        made = plan(found({**DEBIAN, "manager.conf": general + '#include "manager.d/*.conf"\n'}))
        assert f"{ETC}/manager.conf" not in [change.path for change in made.changes]
        (note,) = made.notes
        assert "enabled = yes" in note

    def test_ami_of_a_freepbx_that_is_off(self) -> None:
        """FreePBX's own setting says so."""
        note, _ = plan(found({**FREEPBX, "manager.conf": FREEPBX["manager.conf"][24:]})).notes
        assert note.startswith("AMI is off: switch it on in FreePBX")

    @pytest.mark.parametrize("layout", [DEBIAN, FREEPBX])
    def test_voicemail(self, layout: Mapping[str, str]) -> None:
        """A FreePBX has one behind every extension, and can be told to block it."""
        offered = [note for note in plan(found(layout)).notes if "--no-voicemail" in note]
        assert len(offered) == (layout is FREEPBX)

    def test_allow_is_too_late(self) -> None:
        """The configuration that is there is the admin's."""
        (note,) = plan(found(PLAIN, yml="keys: []")).notes
        assert "--allow changes nothing" in note

    def test_freepbx(self) -> None:
        """Includes that a FreePBX has, and the agent's setting for it."""
        odd = {**FREEPBX, "manager.conf": GENERAL}
        notes = plan(found(odd, yml="keys: []")).notes
        assert "manager.conf does not include manager_custom.conf" in notes[0]
        assert "asterisk.freepbx" in notes[1]
        place = Place(ETC, YML, SECRET_FILE, freepbx=True)
        assert len(plan(found(FREEPBX, yml="keys: []"), place=place).notes) == 2


class TestNoVoicemail:
    """`--no-voicemail`: the second is dialled through the context that blocks it."""

    ASKED = evolve(WISHES, no_voicemail=True)

    def test_new(self) -> None:
        """The configuration has any number dialled so, and nothing is left to say."""
        made = plan(found(FREEPBX), wishes=self.ASKED)
        (text,) = [change.after for change in made.changes if change.path == YML]
        config = parse([(YML, yaml.safe_load(text))], server_id="pbx1").asterisk
        assert config is not None
        channel = "Local/{number}@c2c-no-voicemail"
        assert [rule.channel for rule in config.second_leg] == [channel, channel]
        assert [rule.match for rule in config.second_leg] == [
            rule.match for rule in AsteriskConfig().second_leg
        ]
        assert config.freepbx
        assert not any("voicemail" in note for note in made.notes)
        assert f"[{NO_VOICEMAIL}]" in shipped()[BRIDGE]

    def test_there_already(self) -> None:
        """Then the admin puts it in; where it stands, there is nothing to do."""
        notes = plan(found(FREEPBX, yml="keys: []"), wishes=self.ASKED).notes
        assert "@c2c-no-voicemail" in notes[1]
        used = "asterisk: {second_leg: [{match: _X., channel: 'Local/{number}@c2c-no-voicemail'}]}"
        for wishes in (self.ASKED, WISHES):
            notes = plan(found(FREEPBX, yml=used), wishes=wishes).notes
            assert not any("voicemail" in note for note in notes)

    def test_no_freepbx(self) -> None:
        """Asterisk itself knows no such thing."""
        with pytest.raises(SetupError, match="the page on the dialplan has a recipe"):
            plan(found(DEBIAN), wishes=self.ASKED)


class TestShown:
    """The difference as it is shown."""

    def test_secrets_are_masked(self) -> None:
        """Ours, and those of other users that stand near."""
        other = f"{GENERAL}[other]\nsecret = theirs\nSecret=>theirs\n"
        for change in plan(found({**PLAIN, "manager.conf": other})).changes:
            text = shown(change, hide=change.path == SECRET_FILE)
            assert "c2c_ami" not in text
            assert "c2c_key" not in text
            assert "theirs" not in text
            assert f"\n+++ {change.path}\n" in text

    def test_new_file(self) -> None:
        """Every line of it."""
        text = shown(Change("/x", Kind.AGENT, None, "one\ntwo"))
        assert text == "--- /dev/null\n+++ /x\n@@ -0,0 +1,2 @@\n+one\n+two"
