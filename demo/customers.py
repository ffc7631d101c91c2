"""The customers of the demo, who write to its mailboxes by SMTP as anybody would: a
question, and a second thought.

Each message is the same bytes each time it is written, so that a restart neither
repeats nor changes it.
"""

import smtplib
from datetime import UTC, datetime
from email.message import EmailMessage

from demo.messages.message import Question, blanks, fill_in

TIMEOUT_SECONDS = 10.0


def message_id(question: Question, what: str, run: str, sequence: int) -> str:
    """Return the id under which a message of this round is known."""
    return f"<{what}-{run}-{sequence}@{question.sender.partition('@')[2]}>"


def ask(question: Question, *, to: str, port: int, run: str, sequence: int) -> str:
    """Write the question and return its Message-ID; empty when the gateway did not take
    it.
    """
    message = _message(question, to, question.subject, question.body, sequence)
    message["Message-ID"] = asked = message_id(question, "question", run, sequence)
    return asked if _deliver(message, port) else ""


def write_again(
    question: Question, *, to: str, port: int, run: str, sequence: int
) -> bool:
    """Write what came to the customer's mind meanwhile, in the same thread."""
    subject = f"Re: {question.subject}"
    message = _message(question, to, subject, question.afterwards, sequence)
    message["Message-ID"] = message_id(question, "afterwards", run, sequence)
    message["In-Reply-To"] = message["References"] = message_id(
        question, "question", run, sequence
    )
    return _deliver(message, port)


def _message(
    question: Question, to: str, subject: str, body: str, sequence: int
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"{question.name} <{question.sender}>"
    message["To"] = to
    message["Subject"] = subject
    message.set_content(fill_in(body, blanks(sequence, datetime.now(UTC))))
    return message


def _deliver(message: EmailMessage, port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=TIMEOUT_SECONDS) as server:
            server.send_message(message)
    except (OSError, smtplib.SMTPException):
        return False
    return True
