//! The lines of the logs: what comes from outside is masked and made printable here, whoever logs it.

use std::borrow::Cow;
use std::fmt::{self, Debug};

use anstyle::{AnsiColor, Style};
use backends::system::SystemClock;
use chrono::SecondsFormat;
use domain::ports::Clock as _;
use domain::redact::{misleads, redact_line};
use domain::trace::SpanContext;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The field of a backtrace: longer than a message may be, and made of our own names.
const BACKTRACE: &str = "backtrace";

tokio::task_local! {
    /// The trace to which belongs what is worked on.
    static TRACE: SpanContext;
    /// The call that is answered, by the id that whoever made it knows.
    static REQUEST: String;
}

/// Does this work; the lines that it logs have the ids of a trace, `trace_id` and `span_id`.
pub async fn traced<W: Future>(context: SpanContext, work: W) -> W::Output {
    TRACE.scope(context, work).await
}

/// Does this work; the lines that it logs have the id of a call, `requestId` as Lambda writes it.
pub async fn of_request<W: Future>(id: String, work: W) -> W::Output {
    REQUEST.scope(id, work).await
}

/// How an event becomes a line.
#[derive(Debug, Clone, Copy)]
pub enum LogLines {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let trace = TRACE.try_with(|trace| [("trace_id", trace.trace_id()), ("span_id", trace.span_id())]);
        fields.0.extend(trace.into_iter().flatten().map(|(name, id)| (name, Value::from(id))));
        let request = REQUEST.try_with(|id| ("requestId", Value::from(id.as_str())));
        fields.0.extend(request);
        let now = SystemClock.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let level = *event.metadata().level();
        match self {
            Self::Json => {
                let (level, target) = (level.as_str().into(), event.metadata().target().into());
                let head = [("timestamp", now.into()), ("level", level)];
                let members = head.into_iter().chain(fields.0).chain([("target", target)]);
                let members: Vec<String> =
                    members.map(|(name, value): (&str, Value)| format!("{}:{value}", Value::from(name))).collect();
                writeln!(line, "{}", printable_json(&format!("{{{}}}", members.join(","))))
            }
            Self::Text => text(&mut line, &now, level, fields.0),
        }
    }
}

fn text(line: &mut Writer<'_>, now: &str, level: Level, fields: Vec<(&str, Value)>) -> fmt::Result {
    let colours = line.has_ansi_escapes();
    let styled = |text: &str, style: Style| if colours { format!("{style}{text}{style:#}") } else { text.to_owned() };
    let level_style = match level {
        Level::ERROR => AnsiColor::Red.on_default(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        _ => AnsiColor::Blue.on_default(),
    };
    let dim = Style::new().dimmed();
    write!(line, "{} {}", styled(now, dim), styled(&format!("{level:>5}"), level_style))?;
    let of = |wanted: &str| fields.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    if let Some(message) = of("message") {
        write!(line, " {}", plain(message))?;
    }
    for (name, value) in fields.iter().filter(|(name, _)| !matches!(*name, "message" | BACKTRACE)) {
        write!(line, " {}{}", styled(&format!("{name}="), dim), plain(value))?;
    }
    line.write_char('\n')?;
    for frame in of(BACKTRACE).and_then(Value::as_str).into_iter().flat_map(str::lines) {
        writeln!(line, "  {frame}")?;
    }
    Ok(())
}

/// A value in a line of text: texts have no quotes, since they are printable already.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The fields of an event, in their order, each text masked, on one line and printable.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.push((field.name(), value.into()));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == BACKTRACE {
            self.add(field, value);
        } else {
            self.add(field, redact_line(value));
        }
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let causes = std::iter::successors(value.source(), |error| error.source());
        let whole = causes.fold(value.to_string(), |whole, cause| format!("{whole}: {cause}"));
        self.add(field, redact_line(&whole));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// JSON with the characters escaped that a terminal would obey and JSON lets stand. The value stays the same.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    // Line feeds are the layout of the document: inside a text they are escaped already.
    let escaped = |c: char| c != '\n' && misleads(c);
    if !json.contains(escaped) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    let mut units = [0; 2];
    for c in json.chars() {
        if escaped(c) {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A panic as an event like any other: what the panicking part had in hand is masked, and the line is a log line.
///
/// Where errors are not logged at all, it is still said. `logs_errors` says whether they are: a layer that only counts
/// has them enabled too.
pub fn log_panic(panic: &std::panic::PanicHookInfo<'_>, logs_errors: bool) {
    let message = panic.payload_as_str().unwrap_or("without a message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    if !logs_errors || !tracing::enabled!(tracing::Level::ERROR) {
        anstream::eprintln!("a part of the program panicked at {place}: {}", domain::redact::redact_line(message));
    } else if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        tracing::error!(place, backtrace = %backtrace, event = "panic", "a part of the program panicked: {message}");
    } else {
        tracing::error!(place, event = "panic", "a part of the program panicked: {message}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const HOSTILE: &str = "a\u{1b}[31m\r\n{\"level\":\"ERROR\"}\u{9b}\u{202e} apikey=C4nary https://u:C4nary@h/";

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(lines: LogLines, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer =
            tracing_subscriber::fmt::layer().event_format(lines).with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn hostile_events() {
        let error = std::io::Error::other(HOSTILE);
        tracing::warn!(
            n = 7, half = 0.5, nan = f64::NAN, yes = true, shown = %HOSTILE, debugged = ?[HOSTILE], plain = HOSTILE,
            error = &error as &dyn std::error::Error, event = "an.event", "message {HOSTILE}"
        );
    }

    #[test]
    fn an_event_is_one_json_object_on_one_line_without_secrets() {
        let out = lines_of(LogLines::Json, hostile_events);
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(!out.trim_end().chars().any(domain::redact::misleads), "{out}");
        assert!(!out.contains("C4nary"), "{out}");
        let line: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&line["level"], &line["n"], &line["half"]), (&"WARN".into(), &7.into(), &0.5.into()));
        assert_eq!((&line["nan"], &line["yes"], &line["event"]), (&Value::Null, &true.into(), &"an.event".into()));
        assert!(line["message"].as_str().unwrap().starts_with("message a\\u{1b}[31m"), "{out}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(line["target"].as_str().unwrap().contains("log_lines"));
    }

    #[test]
    fn lines_of_traced_work_have_the_ids_of_its_trace() {
        let context = SpanContext::of_run("c7645f7b-ad76-5da2-bcab-19e7976dd702".parse().unwrap());
        let out = lines_of(LogLines::Json, || {
            let work = traced(context, async { tracing::info!(event = "an.event", "inside") });
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(work);
            tracing::info!(event = "an.event", "outside");
        });
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["trace_id"], &lines[0]["span_id"]),
            (&context.trace_id().into(), &context.span_id().into())
        );
        assert_eq!(lines[1].get("trace_id"), None, "{out}");
    }

    #[test]
    fn lines_of_a_call_have_its_id() {
        let out = lines_of(LogLines::Json, || {
            let work = of_request("8f5e".to_owned(), async { tracing::info!(event = "an.event", "inside") });
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
            tracing::info!(event = "an.event", "outside");
        });
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["requestId"], lines[1].get("requestId")), (&"8f5e".into(), None), "{out}");
    }

    #[test]
    fn an_event_is_one_line_of_text() {
        let out = lines_of(LogLines::Text, hostile_events);
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(!out.trim_end().chars().any(domain::redact::misleads), "{out}");
        assert!(!out.contains("C4nary"), "{out}");
        assert!(out.contains(" WARN message a") && out.contains("event=an.event"), "{out}");
    }

    #[test]
    fn a_panic_is_a_line_like_any_other() {
        std::panic::set_hook(Box::new(|panic| super::log_panic(panic, true)));
        let out = lines_of(LogLines::Json, || {
            assert!(std::panic::catch_unwind(|| panic!("{HOSTILE}")).is_err());
        });
        drop(std::panic::take_hook());
        let line: Value = serde_json::from_str(out.trim_end()).unwrap_or_else(|error| panic!("{error}: {out}"));
        assert_eq!((&line["level"], &line["event"]), (&"ERROR".into(), &"panic".into()));
        assert!(line["place"].as_str().unwrap().contains("log_lines.rs"), "{out}");
        assert!(line["message"].as_str().unwrap().contains("apikey=***") && !out.contains("C4nary"), "{out}");
    }

    #[test]
    fn json_for_a_terminal_has_the_same_value_and_nothing_that_it_obeys() {
        let value =
            serde_json::json!({"a": "x\u{9b}31m\u{202e}\u{7f}\u{e0041}\n\u{1b}\u{fffe}ü", "b": ["\u{2028}", 1.5]});
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let printed = printable_json(&json);
            assert!(!printed.chars().any(|c| c != '\n' && misleads(c)), "{printed}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
        }
    }
}
