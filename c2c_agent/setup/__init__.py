"""`c2c-agent setup asterisk`: writes the AMI user and the dialplan, and takes them back.

`plan` says what is to be written, `apply` writes it.
"""
