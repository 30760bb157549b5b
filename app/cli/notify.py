"""`fieldpost notify`: mails about late devices and items that wait, for cron."""

from __future__ import annotations

import sys

import click

from app.administration.mail import MailRefusedError, MailServer, MailServerError, parse_smtp_url, send
from app.administration.notices import Digest, News, digest, find_news, remember
from app.cli.data import with_data
from app.cli.failures import reported_failures
from app.config import current_settings, environment_name
from app.errors import ConfigurationError
from app.pages.places import path_of

#: The settings without which there is no mail.
NEEDED = ("smtp_url", "mail_from", "public_url")


@click.command("notify")
@click.option("--dry-run", is_flag=True, help="Print the mails. Send none, and remember nothing.")
@with_data
@reported_failures()
def notify_command(dry_run: bool) -> None:
    """Tell administrators and owners by e-mail of late devices, and of items that wait for more than a day.

    Nobody is told of the same thing twice. If a mail is refused, the others are still sent, and the exit code is 1.
    """
    server = _mail_server()
    if dry_run:
        for news in find_news():
            subject, text = _digest(news)
            click.echo(f"To: {news.email}\nSubject: {subject}\n\n{text}")
        return
    outcomes = [_tell(server, news) for news in find_news()]
    sent = sum(outcomes)
    click.echo("sent 1 mail" if sent == 1 else f"sent {sent} mails")
    if not all(outcomes):
        sys.exit(1)


def _mail_server() -> MailServer:
    settings = current_settings()
    missing = [environment_name(name) for name in NEEDED if not getattr(settings, name)]
    if missing:
        raise click.ClickException(f"No mail is sent, because this is not set: {', '.join(missing)}.")
    try:
        return parse_smtp_url(settings.smtp_url)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


def _tell(server: MailServer, news: News) -> bool:
    """Send a user's mail and remember it; returns whether it was accepted."""
    subject, text = _digest(news)
    try:
        send(server, current_settings().mail_from, news.email, subject, text)
    except MailRefusedError as error:
        click.echo(f"The mail to {news.email} was not accepted, and the next run tries again: {error}", err=True)
        return False
    except MailServerError as error:
        raise click.ClickException(
            f"The mail server {server.host}:{server.port} takes no mail: {error}. Check FIELDPOST_SMTP_URL; "
            "the next run sends what is left."
        ) from None
    remember(news)
    return True


def _digest(news: News) -> Digest:
    return digest(news, current_settings().public_url.rstrip("/"), path_of)
