"""The check and the probe of a Switchvox, over the double in memory."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.check.finding import Finding
from c2c_agent.check.switchvox import findings, of_client
from c2c_agent.check.switchvox_probe import Probe
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.net.http_auth import Credentials
from c2c_agent.pbx.switchvox.client import ExtendClient
from tests.fake_switchvox import PBX_EPOCH, FakeSwitchvox, Story

CONFIG = SwitchvoxConfig(
    "https://pbx.example.com", "c2c-agent", "/etc/c2c-agent/switchvox.password"
)


class SwitchvoxTestCase(SynchronousTestCase):
    config = CONFIG

    def setUp(self) -> None:
        self.clock = Clock()
        self.fake = FakeSwitchvox(self.clock)
        self.password = self.fake.password

    def client(self, config: SwitchvoxConfig) -> ExtendClient:
        """A client of the double."""
        admin = config.login == "admin"
        return ExtendClient(
            self.fake.send,
            Credentials(self.fake.username, self.password),
            proof="switchvox.info.getList" if admin else "switchvox.users.getMyInfo",
            wanted="auto",
            seconds=self.clock.seconds,
            new_word=lambda: "word",
        )


class CheckTest(SwitchvoxTestCase):
    def found(self, config: SwitchvoxConfig = CONFIG, wall: float = PBX_EPOCH) -> list[Finding]:
        """All findings, where the host's clock shows this."""

        async def all_of_them() -> list[Finding]:
            return [one async for one in of_client(self.client(config), config, lambda: wall)]

        found: list[Finding] = self.successResultOf(Deferred.fromCoroutine(all_of_them()))
        return found

    def test_all_is_well(self) -> None:
        login, rights, clock = self.found()
        self.assertEqual(login.message, "logged in as c2c-agent; version 7.8.0.1, edition SMB")
        self.assertEqual(
            rights.message,
            "may find the account of dial_as, see whether a call goes on, "
            "see afterwards who talked",
        )
        self.assertEqual(clock.message, "0 s behind this host's, in a time zone +0 h from UTC")
        self.assertFalse(any(one.advice for one in (login, rights, clock)))
        self.assertEqual(self.fake.placed, [])

    def test_a_time_zone_is_no_difference_and_minutes_are(self) -> None:
        *_, clock = self.found(wall=PBX_EPOCH - 3600 + 90)
        self.assertEqual(clock.message, "90 s behind this host's, in a time zone +1 h from UTC")
        self.assertTrue(clock.warning)

    def test_a_wrong_password(self) -> None:
        self.password = "wrong"
        [login] = self.found()
        self.assertTrue(login.failed)
        self.assertIn("HTTP 403", login.message)
        self.assertIn("/etc/c2c-agent/switchvox.password", login.advice)
        self.assertEqual(self.fake.wrong_credentials, 1)

    def test_nobody_is_there(self) -> None:
        self.fake.faults[""] = ["no-connection"]
        [login] = self.found()
        self.assertIn("pbx.example.com:443", login.advice)

    def test_what_it_may_not_do(self) -> None:
        self.fake.permitted = self.fake.clock_known = False
        self.fake.forbidden = {"switchvox.callLogs.search"}
        login, rights, clock = self.found()
        self.assertTrue(login.warning)
        self.assertTrue(rights.failed)
        self.assertIn("callLogs.search, to see afterwards who talked", rights.message)
        self.assertNotIn("currentCalls", rights.message)
        self.assertIn("not permitted", clock.message)

    def test_what_a_setting_does_without_needs_no_right(self) -> None:
        for setting, method, without in (
            ("follow", "switchvox.currentCalls.getList", evolve(CONFIG, follow=False)),
            ("call_logs", "switchvox.callLogs.search", evolve(CONFIG, call_logs=False)),
        ):
            self.fake.forbidden = {method}
            _, rights, _ = self.found()
            self.assertTrue(rights.failed)
            self.assertIn(f"or set {setting} to false", rights.advice)
            self.fake.asked.clear()
            _, rights, _ = self.found(without)
            self.assertFalse(rights.failed or rights.warning)
            self.assertNotIn(method, self.fake.asked)
        self.fake.forbidden = {"switchvox.extensions.getInfo"}
        _, rights, _ = self.found(evolve(CONFIG, follow=False))
        self.assertNotIn("false", rights.advice)

    def test_a_list_that_does_not_come(self) -> None:
        self.fake.faults["switchvox.currentCalls.getList"] = ["dropped"]
        self.fake.faults["switchvox.systemClock.getInfo"] = ["dropped"]
        _, rights, clock = self.found()
        self.assertIn("currentCalls.getList", rights.message)
        self.assertTrue(clock.warning)

    def test_an_extensions_login(self) -> None:
        login, rights = self.found(evolve(CONFIG, login="extension"))
        self.assertIn("logged in", login.message)
        self.assertIn("neither followed nor cancelled", rights.message)

    def test_a_password_file_that_is_not_there(self) -> None:
        config = evolve(CONFIG, password_file="/nowhere/password")

        async def all_of_them() -> list[Finding]:
            return [one async for one in findings(config, MemoryReactorClock())]

        [finding] = self.successResultOf(Deferred.fromCoroutine(all_of_them()))
        self.assertTrue(finding.failed)
        self.assertIn("/nowhere/password", finding.message)


class ProbeTest(SwitchvoxTestCase):
    def report(
        self,
        *numbers: str,
        hangs_up: bool = False,
        config: SwitchvoxConfig = CONFIG,
        stranger: ExtendClient | None = None,
    ) -> str:
        """The report, once it is complete."""
        lines: list[str] = []

        async def tell() -> None:
            client = self.client(config)
            probe = Probe(client, config, self.clock, hangs_up=hangs_up, stranger=stranger)
            lines.extend([line async for line in probe.report(*(numbers or (None, None)))])

        telling = Deferred.fromCoroutine(tell())
        self.clock.pump([0.5] * 700)
        self.successResultOf(telling)
        return "\n".join(lines)

    def test_without_numbers_nothing_is_placed(self) -> None:
        self.fake.strangers = [{"id": "SIP/7-1", "from_caller_id_name": "Anna", "state": "talking"}]
        report = self.report()
        self.assertIn("Digest without qop", report)
        self.assertIn("7.8.0.1", report)
        self.assertIn("1 calls", report)
        self.assertNotIn("Anna", report)
        self.assertEqual(self.fake.placed, [])

    def test_a_call_is_watched_and_its_numbers_are_masked(self) -> None:
        self.fake.stories = {"104": Story(3.0), "5554578299": Story(4.0, talks=5.0)}
        report = self.report("104", "5554578299")
        self.assertEqual(len(self.fake.placed), 1)
        self.assertIn('after 3.0 s: the order is answered: {"method": "switchvox.call"', report)
        self.assertIn('"dialed_second": "xSECOND"', report)
        self.assertIn('"state": "ringing"', report)
        self.assertIn('"state": "talking"', report)
        self.assertIn("TALKING", report)
        self.assertNotIn("104", report)
        self.assertNotIn("4578299", report)

    def test_the_challenge_without_what_is_the_pbxs_own(self) -> None:
        report = self.report()
        self.assertRegex(report, r'challenge: Digest realm="\(\d+ characters\)"')
        self.assertRegex(report, r'nonce="\(\d+ characters\)"')
        self.assertIn('qop=""', report)

    def test_the_log_is_asked_until_it_has_the_call(self) -> None:
        self.fake.log_after = 4
        self.fake.stories = {"104": Story(3.0), "5554578299": Story(4.0, talks=5.0)}
        report = self.report("104", "5554578299")
        self.assertRegex(report, r"log, [34] s after the end: .*TALKING")
        self.fake.log_after = 60
        self.assertIn("log, 10 s after the end: ", self.report("104", "5554578299"))

    def test_a_call_is_hung_up_once_where_it_is_known_which_it_is(self) -> None:
        self.fake.stories = {"104": Story(None)}
        report = self.report("104", "5554578299", hangs_up=True)
        self.assertEqual(len(self.fake.hung_up), 1)
        self.assertIn("switchvox.currentCalls.hangUp: {", report)
        self.assertIn("41591", report)  # what the order is answered then

    def test_a_call_that_may_be_anothers_is_not_hung_up(self) -> None:
        self.fake.stories = {"104": Story(4.0), "5554578299": Story(4.0, talks=2.0)}
        self.fake.strangers = [
            {
                "id": "SIP/7-1",
                "state": "ringing",
                "from_caller_id_number": "104",
                "to_caller_id_number": "5554578299",
            }
        ]
        self.report("104", "5554578299", hangs_up=True)
        self.assertEqual((len(self.fake.hung_up), self.fake.unknown_ids), (1, 0))
        self.fake.hung_up.clear()
        # Of the two lists, the second is what was there before: nobody knows.
        self.fake.faults["switchvox.currentCalls.getList"] = ["cut", "dropped"]
        self.report("104", "5554578299", hangs_up=True)
        self.assertEqual((self.fake.hung_up, self.fake.unknown_ids), ([], 0))

    def test_a_number_as_it_is_given(self) -> None:
        self.fake.stories = {"104": Story(3.0), "+5554578299#": Story(1.0, talks=5.0)}
        report = self.report("104", "+5554578299#", config=evolve(CONFIG, plus="keep"))
        self.assertEqual(self.fake.written[0]["dial_second"], "+5554578299#")
        self.assertIn('"dialed_second": "x+SECOND#"', report)
        self.assertIn('"state": "talking"', report)
        self.assertNotIn("4578299", report)
        self.report("104", "+5554578299#")
        self.assertEqual(self.fake.written[1]["dial_second"], "5554578299#")

    def test_how_a_wrong_password_is_refused(self) -> None:
        right, self.password = self.password, "wrong"
        stranger = self.client(CONFIG)
        self.password = right
        report = self.report(stranger=stranger)
        self.assertIn("wrong password: HTTP 403, challenges []", report)
        self.assertIn("login: taken", report)
        self.assertEqual(self.fake.wrong_credentials, 1)
        self.assertIn("wrong password: taken", self.report(stranger=self.client(CONFIG)))

    def test_a_wrong_password_that_is_not_answered(self) -> None:
        fake, self.fake = self.fake, FakeSwitchvox(self.clock)
        self.fake.faults["switchvox.info.getList"] = ["dropped"]
        stranger, self.fake = self.client(CONFIG), fake
        self.assertIn("wrong password: no answer: ", self.report(stranger=stranger))

    def test_no_login_ends_it(self) -> None:
        self.password = "wrong"
        self.assertIn("refuses", self.report("104", "5554578299"))
        self.assertEqual(self.fake.placed, [])
