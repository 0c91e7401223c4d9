"""A mail server that prints what it gets. It ends with its input.

The first line of its output is its port. Each further line is a mail as JSON: sender, recipients, who had logged in,
whether the connection was encrypted, headers by name in lower case, and the text.
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl
import sys

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

parser = argparse.ArgumentParser()
parser.add_argument("--login", help="NAME:PASSWORD, without which nothing is taken")
parser.add_argument("--starttls", help="a folder that gets ca.pem, which signed the certificate of localhost")
parser.add_argument("--reply", help="what every mail is answered, for example: 451 try later")
arguments = parser.parse_args()


class Printer:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        print(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "login": session.auth_data,
                    "encrypted": session.ssl is not None,
                    "headers": {name.lower(): str(value) for name, value in mail.items()},
                    "text": mail.get_content().replace("\r\n", "\n"),
                }
            ),
            flush=True,
        )
        return arguments.reply or "250 taken"


def log_in(server, session, envelope, mechanism, data):
    given = f"{data.login.decode()}:{data.password.decode()}"
    if given != arguments.login:
        return AuthResult(success=False, handled=False)
    return AuthResult(success=True, auth_data=data.login.decode())


context = None
if arguments.starttls:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(f"{arguments.starttls}/ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)


def connection():
    return SMTP(
        Printer(),
        hostname="localhost",
        tls_context=context,
        require_starttls=context is not None,
        authenticator=log_in,
        auth_required=arguments.login is not None,
        auth_require_tls=context is not None,
    )


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(serve())
