//! E-mail, through a mail server.

use std::time::Duration;

use async_trait::async_trait;
use domain::alert_message::AlertMessage;
use domain::alert_rules::MailTls;
use domain::ports::ChannelError;
use domain::redact::redact;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport as _};

use super::{Transport, blocking, failed};

/// How long the mail server may take for each step.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Email {
    server: String,
    transport: SmtpTransport,
    from: Mailbox,
    to: Vec<Mailbox>,
}

/// Says that no person wrote it, so that no out-of-office note answers.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Email {
    pub(super) fn new(
        (host, port): (&str, u16),
        tls: MailTls,
        username: Option<&str>,
        password: Option<String>,
        from: &str,
        to: &[String],
    ) -> Result<Self, String> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>()
                .map_err(|error| format!("{text:?} in [[alerts.channel]] is no mail address: {error}"))
        };
        let builder = match tls {
            MailTls::Starttls => SmtpTransport::starttls_relay(host),
            MailTls::Tls => SmtpTransport::relay(host),
            MailTls::None => Ok(SmtpTransport::builder_dangerous(host)),
        };
        let builder = builder
            .map_err(|error| format!("the mail server {host} cannot be used: {error}"))?
            .port(port)
            .timeout(Some(LIMIT))
            .hello_name(ClientId::Domain("nightbook".to_owned()));
        let builder = match (username, password) {
            (Some(username), Some(password)) => builder.credentials(Credentials::new(username.to_owned(), password)),
            _ => builder,
        };
        Ok(Self {
            server: format!("{host}:{port}"),
            transport: builder.build(),
            from: mailbox(from)?,
            to: to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
        })
    }
}

/// A text as a part of a message id.
fn token(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '.' }).collect()
}

#[async_trait]
impl Transport for Email {
    async fn carry(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        let mut builder = Message::builder().from(self.from.clone());
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let mail = builder
            .subject(message.title.clone())
            .date(message.created_at.into())
            // The same again is the same mail, and what has the same causes is one thread.
            .message_id(Some(format!("<{}@nightbook>", token(&message.alert_id))))
            .references(format!("<{}@nightbook>", token(&message.dedup_key)))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(message.text())
            .map_err(|error| failed(format!("the mail could not be written: {error}")))?;
        let (transport, server) = (self.transport.clone(), self.server.clone());
        let sent = move || match transport.send(&mail) {
            Ok(_) => Ok(()),
            Err(error) => {
                let mut text = format!("the mail server {server} did not take it: {error}");
                if let Some(cause) =
                    std::error::Error::source(&error).filter(|cause| !text.contains(&cause.to_string()))
                {
                    text.push_str(&format!(": {cause}"));
                }
                Err(failed(redact(&text)))
            }
        };
        blocking(sent).await
    }
}
