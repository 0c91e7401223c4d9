//! E-mail, through a mail server.

use std::time::Duration;

use async_trait::async_trait;
use domain::alert_message::AlertMessage;
use domain::alert_rules::MailTls;
use domain::ports::ChannelError;
use domain::redact::redact;
use lettre::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;

use super::{Transport, blocking, failed};

/// How long the mail server may take for each step.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// How long a whole delivery may take. A server that sends a byte now and then would pass every limit of a step.
const TOTAL_LIMIT: Duration = Duration::from_secs(60);

/// A mail server, and how to log in there.
#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
    tls: MailTls,
    parameters: Option<TlsParameters>,
    credentials: Option<Credentials>,
}

pub(super) struct Email {
    server: Server,
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
        let parameters = match tls {
            MailTls::Starttls | MailTls::Tls => Some(
                TlsParameters::new(host.to_owned())
                    .map_err(|error| format!("the mail server {host} cannot be used: {error}"))?,
            ),
            MailTls::None => None,
        };
        let credentials = match (username, password) {
            (Some(username), Some(password)) => Some(Credentials::new(username.to_owned(), password)),
            _ => None,
        };
        Ok(Self {
            server: Server { host: host.to_owned(), port, tls, parameters, credentials },
            from: mailbox(from)?,
            to: to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
        })
    }
}

impl Server {
    fn connect(&self) -> Result<SmtpConnection, Error> {
        let hello = ClientId::Domain("nightbook".to_owned());
        let from_first_byte = self.parameters.as_ref().filter(|_| self.tls == MailTls::Tls);
        let address = (self.host.as_str(), self.port);
        let mut connection = SmtpConnection::connect(address, Some(STEP_LIMIT), &hello, from_first_byte, None)?;
        if let (MailTls::Starttls, Some(parameters)) = (self.tls, &self.parameters) {
            connection.starttls(parameters, &hello)?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials)?;
        }
        Ok(connection)
    }

    /// Sends a mail to every recipient whom the server accepts.
    fn send(&self, from: Address, to: Vec<Address>, mail: &[u8]) -> Result<(), ChannelError> {
        let refused =
            |error: &Error| failed(redact(&format!("the mail server {self} did not take it: {}", whole(error))));
        let mut connection = self.connect().map_err(|error| refused(&error))?;
        connection.command(Mail::new(Some(from), Vec::new())).map_err(|error| refused(&error))?;
        let (all, mut reasons, mut for_good) = (to.len(), Vec::new(), true);
        for recipient in to {
            match connection.command(Rcpt::new(recipient, Vec::new())) {
                Ok(_) => {}
                Err(error) if error.status().is_some() => {
                    for_good &= error.is_permanent();
                    reasons.push(whole(&error));
                }
                Err(error) => return Err(refused(&error)),
            }
        }
        let others =
            format!("the mail server {self} refused {} of {all} recipients: {}", reasons.len(), reasons.join("; "));
        if reasons.len() == all {
            connection.abort();
            return Err(ChannelError { is_final: for_good, ..failed(redact(&others)) });
        }
        let sent = connection.command(Data).and_then(|_| connection.message(mail));
        // The answer to the mail is what counts.
        let _ = connection.quit();
        sent.map_err(|error| ChannelError { is_final: error.is_permanent(), ..refused(&error) })?;
        if reasons.is_empty() {
            return Ok(());
        }
        // The others have it: once more would be a copy for each of them.
        Err(ChannelError { is_final: true, ..failed(redact(&format!("{others}; the others have the mail"))) })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An error with its cause.
fn whole(error: &Error) -> String {
    let text = error.to_string();
    match std::error::Error::source(error) {
        Some(cause) if !text.contains(&cause.to_string()) => format!("{text}: {cause}"),
        _ => text,
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
        let (server, mail) = (self.server.clone(), mail.formatted());
        let from = self.from.email.clone();
        let to = self.to.iter().map(|to| to.email.clone()).collect();
        let sending = blocking(move || server.send(from, to, &mail));
        match tokio::time::timeout(TOTAL_LIMIT, sending).await {
            Ok(sent) => sent,
            Err(_) => {
                let (server, limit) = (&self.server, TOTAL_LIMIT.as_secs());
                Err(failed(format!("the mail server {server} took longer than {limit} s in all")))
            }
        }
    }
}
