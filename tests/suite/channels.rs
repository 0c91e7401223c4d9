//! Each way to people, against a receiver on loopback.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backends::channels::{channel, sign};
use backends::system::SystemClock;
use domain::alert_message::AlertMessage;
use domain::alert_rules::{Address, ChannelKind, ChannelSpec, MailTls, Severity};
use domain::ids::{ChannelName, RunId, ScheduleName};
use domain::ports::{AlertChannel, ChannelError, Clock};
use e2e::text;
use serde_json::Value;

use crate::http::{Server, reply};
use crate::smtp::MailServer;

const SECRET: &str = "C4nary-in-a-secret";

fn message() -> AlertMessage {
    let schedule = ScheduleName::new("nightly").unwrap();
    let id = RunId("11111111-2222-3333-4444-555555555555".parse().unwrap());
    let mut message =
        AlertMessage::test(schedule, id, "https://night.example", "2026-11-24T23:30:00Z".parse().unwrap());
    message.title = "nightly 2026-11-24 partial: <b> & \u{fc}".to_owned();
    message
}

fn made(kind: ChannelKind) -> Arc<dyn AlertChannel> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let spec = ChannelSpec { name: ChannelName::new("desk").unwrap(), min_severity: Severity::Info, kind };
    let environment = |name: &str| match name {
        "HOOK_SECRET" | "MAIL_PASSWORD" => Some(SECRET.to_owned()),
        "PLAIN_URL" => Some(format!("http://hooks.example/{SECRET}")),
        _ => None,
    };
    channel(&spec, &environment, &clock)
}

async fn deliver(kind: ChannelKind) -> Result<(), ChannelError> {
    let outcome = made(kind).deliver(&message()).await;
    if let Err(error) = &outcome {
        assert!(!error.message.contains(SECRET), "{}", error.message);
        assert!(error.message.chars().count() < 1_000, "{}", error.message);
    }
    outcome
}

fn webhook(url: String) -> ChannelKind {
    ChannelKind::Webhook { address: Address::Url(url), secret_env: Some("HOOK_SECRET".to_owned()) }
}

fn at(server: &Server) -> String {
    format!("http://{}/hooks/{SECRET}?token={SECRET}", server.address)
}

#[tokio::test]
async fn a_webhook_gets_the_message_signed() {
    let server = Server::start(|_, _| reply("204 No Content", &[], b""));
    deliver(webhook(at(&server))).await.unwrap();
    let requests = server.requests();
    assert_eq!((requests.len(), requests[0].method.as_str()), (1, "POST"));
    let request = &requests[0];
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, serde_json::to_value(message()).unwrap());
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["webhook-id"], message().alert_id);
    let stamp: i64 = request.headers["webhook-timestamp"].parse().unwrap();
    assert_eq!(
        request.headers["webhook-signature"],
        sign(SECRET.as_bytes(), &message().alert_id, stamp, &request.body)
    );
    assert!(!String::from_utf8_lossy(&request.body).contains(SECRET));
}

#[tokio::test]
async fn a_chat_gets_a_text() {
    let server = Server::start(|_, _| reply("200 OK", &[], b"ok"));
    let kind = ChannelKind::Slack { address: Address::Url(at(&server)) };
    deliver(kind).await.unwrap();
    let body: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    let said = body["text"].as_str().unwrap();
    assert!(said.starts_with("*nightly 2026-11-24 partial: &lt;b&gt; &amp; \u{fc}*\n"), "{said}");
    assert!(said.contains("https://night.example/index.html"), "{said}");
}

#[tokio::test]
async fn what_a_receiver_answers_is_heard() {
    for (status, headers, is_final, retry_after) in [
        ("503 Busy", &[("retry-after", "120")][..], false, Some(Duration::from_secs(120))),
        ("429 Slowly", &[], false, None),
        ("500 Broken", &[], false, None),
        ("404 Gone", &[], false, None),
        ("400 Wrong", &[], true, None),
        ("422 Unfit", &[], true, None),
    ] {
        // It repeats the address, and says more than anybody wants to read.
        let server = Server::start(move |_, request| {
            let said = format!("no: {} {}", request.target, "x".repeat(1 << 20));
            reply(status, headers, said.as_bytes())
        });
        let error = deliver(webhook(at(&server))).await.unwrap_err();
        assert!(error.message.contains(&status[..3]) && error.message.contains("no: "), "{}", error.message);
        assert_eq!((error.is_final, error.retry_after), (is_final, retry_after), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(|_, _| reply("200 OK", &[], b""));
    let to = format!("http://{}/{SECRET}", other.address);
    let server = Server::start(move |_, _| reply("307 Elsewhere", &[("location", &to)], b""));
    let error = deliver(webhook(at(&server))).await.unwrap_err();
    assert!(error.message.contains(&format!("a redirect to {} is not followed", other.address)), "{}", error.message);
    assert_eq!((server.requests().len(), other.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_channel_that_cannot_be_used_says_why() {
    let unset = || Address::UrlEnv("NOT_SET".to_owned());
    let plain = Address::UrlEnv("PLAIN_URL".to_owned());
    let silent = Server::start(|_, _| Vec::new());
    for (kind, said) in [
        (ChannelKind::Slack { address: unset() }, "NOT_SET is not set"),
        (ChannelKind::Slack { address: plain }, "PLAIN_URL holds no web address that begins with https://"),
        (ChannelKind::Sns { topic_arn: "arn:aws:sns:x:1:y".to_owned() }, "in the cloud only"),
        (webhook(format!("http://127.0.0.1:1/{SECRET}")), "127.0.0.1:1 could not be reached"),
        (webhook(at(&silent)), "could not be reached"),
    ] {
        let error = deliver(kind).await.unwrap_err();
        assert!(error.message.contains(said) && !error.is_final, "{said}: {}", error.message);
    }
}

fn command(script: &str, timeout_seconds: u32) -> ChannelKind {
    ChannelKind::Command { command: ["sh", "-c", script].map(str::to_owned).to_vec(), timeout_seconds, env: Vec::new() }
}

#[tokio::test]
async fn a_command_gets_the_message_on_its_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("got");
    deliver(command(&format!("cat > '{}'", text(&file)), 60)).await.unwrap();
    let got: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(got, serde_json::to_value(message()).unwrap());
    // One that does not read, and says a lot.
    deliver(command("yes | head -c 1000000 >&2", 60)).await.unwrap();
    let error = deliver(command("echo the pager is out >&2; exit 7", 60)).await.unwrap_err();
    assert!(error.message.contains("exit status: 7: the pager is out"), "{}", error.message);
    let words = vec!["/nowhere/pager".to_owned()];
    let error =
        deliver(ChannelKind::Command { command: words, timeout_seconds: 60, env: Vec::new() }).await.unwrap_err();
    assert!(error.message.contains("\"/nowhere/pager\" could not be started"), "{}", error.message);
}

/// Whether a process is there and not merely waited for.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > '{}'; wait", text(&file));
    let error = deliver(command(&script, 1)).await.unwrap_err();
    assert!(error.message.contains("took longer than 1 s") && !error.is_final, "{}", error.message);
    let pid = std::fs::read_to_string(&file).unwrap();
    // It was sent the signal; it ends when the system comes to it.
    while lives(pid.trim()) {
        tokio::task::yield_now().await;
    }
}

fn mail(port: u16, tls: MailTls, username: Option<&str>) -> ChannelKind {
    ChannelKind::Email {
        host: "localhost".to_owned(),
        port,
        tls,
        username: username.map(str::to_owned),
        password_env: username.map(|_| "MAIL_PASSWORD".to_owned()),
        from: "Nightbook <night@night.example>".to_owned(),
        to: ["desk@night.example", "Head of Risk <head@night.example>"].map(str::to_owned).to_vec(),
    }
}

#[tokio::test]
async fn a_mail_reaches_everybody() {
    let login = format!("night:{SECRET}");
    let mut server = MailServer::start(&["--login", &login]);
    deliver(mail(server.port, MailTls::None, Some("night"))).await.unwrap();
    let got = server.next();
    assert_eq!(got["from"], "night@night.example");
    assert_eq!(got["to"], serde_json::json!(["desk@night.example", "head@night.example"]));
    assert_eq!((&got["login"], &got["encrypted"]), (&"night".into(), &false.into()));
    let headers = &got["headers"];
    assert_eq!(headers["subject"], message().title);
    assert_eq!(headers["from"], "Nightbook <night@night.example>");
    assert_eq!(headers["auto-submitted"], "auto-generated");
    assert_eq!(got["text"].as_str().unwrap().trim_end(), message().text().trim_end());
    // The same message again is the same mail.
    deliver(mail(server.port, MailTls::None, Some("night"))).await.unwrap();
    assert_eq!(server.next()["headers"]["message-id"], headers["message-id"]);
    assert_eq!(server.rest(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_mail_that_is_not_taken_says_why() {
    let server = MailServer::start(&["--login", "night:another password"]);
    let error = deliver(mail(server.port, MailTls::None, Some("night"))).await.unwrap_err();
    assert!(error.message.contains(&format!("localhost:{}", server.port)), "{}", error.message);
    assert!(error.message.contains("535") && !error.is_final, "{}", error.message);
    assert_eq!(server.rest(), Vec::<Value>::new());

    let mut server = MailServer::start(&["--reply", "451 the box is full"]);
    let error = deliver(mail(server.port, MailTls::None, None)).await.unwrap_err();
    assert!(error.message.contains("the box is full") && !error.is_final, "{}", error.message);
    server.next();

    // Nothing goes in the clear that was to be encrypted.
    let error = deliver(mail(server.port, MailTls::Starttls, None)).await.unwrap_err();
    assert!(error.message.contains("did not take it"), "{}", error.message);
    assert_eq!(server.rest(), Vec::<Value>::new());

    // Nor to a server that nobody vouches for.
    let dir = tempfile::tempdir().unwrap();
    let server = MailServer::start(&["--starttls", text(dir.path())]);
    let error = deliver(mail(server.port, MailTls::Starttls, None)).await.unwrap_err();
    assert!(error.message.to_lowercase().contains("certificate"), "{}", error.message);
    assert_eq!(server.rest(), Vec::<Value>::new());

    let error = deliver(mail(1, MailTls::None, None)).await.unwrap_err();
    assert!(error.message.contains("localhost:1 did not take it"), "{}", error.message);
}

/// Secrets of this process are for no command that does not name them.
#[tokio::test]
async fn a_command_sees_the_variables_of_the_list_and_those_that_it_names() {
    let script = "test -n \"$PATH\" && test -z \"$CARGO_MANIFEST_DIR\"";
    deliver(command(script, 60)).await.unwrap();
    let words = ["sh", "-c", "test -n \"$CARGO_MANIFEST_DIR\""].map(str::to_owned).to_vec();
    let kind = |env: &[&str]| ChannelKind::Command {
        command: words.clone(),
        timeout_seconds: 60,
        env: env.iter().map(|name| (*name).to_owned()).collect(),
    };
    deliver(kind(&["CARGO_MANIFEST_DIR"])).await.unwrap();
    deliver(kind(&[])).await.unwrap_err();
}

/// A mail server that refuses the second recipient, and answers the mail so.
fn mail_server(answer: &'static str) -> (std::net::SocketAddr, std::sync::Arc<std::sync::Mutex<String>>) {
    use std::io::{BufRead as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, got) = (listener.local_addr().unwrap(), std::sync::Arc::<std::sync::Mutex<String>>::default());
    let mails = std::sync::Arc::clone(&got);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 ready\r\n").unwrap();
        let mut in_mail = false;
        for line in lines.map_while(Result::ok) {
            let reply = match &line[..] {
                "." if in_mail => {
                    in_mail = false;
                    answer
                }
                line if in_mail => {
                    mails.lock().unwrap().push_str(line);
                    continue;
                }
                "DATA" => {
                    in_mail = true;
                    "354 go on"
                }
                line if line.starts_with("RCPT") && line.contains("gone@") => "550 nobody of this name",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
        }
    });
    (address, got)
}

fn mail_to(address: std::net::SocketAddr, to: &[&str]) -> ChannelKind {
    ChannelKind::Email {
        host: "127.0.0.1".to_owned(),
        port: address.port(),
        tls: domain::alert_rules::MailTls::None,
        username: None,
        password_env: None,
        from: "nightbook@example.com".to_owned(),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_rejected_recipient_silences_nobody_else() {
    let (address, got) = mail_server("250 taken");
    let error = deliver(mail_to(address, &["desk@example.com", "gone@example.com"])).await.unwrap_err();
    assert!(error.is_final && error.message.contains("refused 1 of 2 recipients"), "{}", error.message);
    assert!(!got.lock().unwrap().is_empty(), "the other has the mail");
    let (address, got) = mail_server("250 taken");
    let error = deliver(mail_to(address, &["gone@example.com"])).await.unwrap_err();
    assert!(error.is_final && got.lock().unwrap().is_empty(), "{}", error.message);
    let (address, _) = mail_server("554 too large");
    let error = deliver(mail_to(address, &["desk@example.com"])).await.unwrap_err();
    assert!(error.is_final && error.message.contains("did not take it"), "{}", error.message);
    let (address, _) = mail_server("451 later");
    assert!(!deliver(mail_to(address, &["desk@example.com"])).await.unwrap_err().is_final, "it may be taken later");
}
