//! Where things are: read from the environment of the program, which hands in the look-up.

/// Days that records are kept where nothing else is set.
const RECORDS_DAYS: u32 = 400;

/// Fewest days that records are kept: until it is closed a run needs them, and a deadline may be a week away.
const LEAST_RECORDS_DAYS: u32 = 14;

/// Days that results are kept where nothing else is set, as in the template of the stack.
const RESULTS_DAYS: u32 = 30;

/// A setting that is needed and not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {variable} is not set: give it {what}")]
pub struct MissingSetting {
    /// The variable.
    pub variable: &'static str,
    /// What it should hold.
    pub what: &'static str,
}

/// Names and addresses of tables, buckets, queues and topics. Each is optional until somebody needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    table: Option<String>,
    book_bucket: Option<String>,
    book_prefix: Option<String>,
    records_bucket: Option<String>,
    site_bucket: Option<String>,
    work_queue_url: Option<String>,
    close_queue_url: Option<String>,
    alert_topic_arn: Option<String>,
    event_bus: Option<String>,
    start_function: Option<String>,
    records_days: Option<u32>,
    results_days: Option<u32>,
}

macro_rules! needed {
    ($($(#[$doc:meta])* $field:ident, $variable:literal, $what:literal;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// [`MissingSetting`] names the variable.
            pub fn $field(&self) -> Result<&str, MissingSetting> {
                self.$field.as_deref().ok_or(MissingSetting { variable: $variable, what: $what })
            }
        )*
    };
}

impl Settings {
    /// Reads them from a lookup by the name of the variable. An empty value counts as not set.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let days = |name| value(name).and_then(|days| days.parse().ok()).filter(|days| *days > 0);
        Self {
            table: value("NIGHTBOOK_TABLE"),
            book_bucket: value("NIGHTBOOK_BOOK_BUCKET"),
            book_prefix: value("NIGHTBOOK_BOOK_PREFIX"),
            records_bucket: value("NIGHTBOOK_RECORDS_BUCKET"),
            site_bucket: value("NIGHTBOOK_SITE_BUCKET"),
            work_queue_url: value("NIGHTBOOK_WORK_QUEUE_URL"),
            close_queue_url: value("NIGHTBOOK_CLOSE_QUEUE_URL"),
            alert_topic_arn: value("NIGHTBOOK_ALERT_TOPIC_ARN"),
            event_bus: value("NIGHTBOOK_EVENT_BUS"),
            start_function: value("NIGHTBOOK_START_FUNCTION"),
            records_days: days("NIGHTBOOK_RECORDS_DAYS"),
            results_days: days("NIGHTBOOK_RESULTS_DAYS"),
        }
    }

    /// The same with this table.
    #[must_use]
    pub fn with_table(self, table: &str) -> Self {
        Self { table: Some(table.to_owned()), ..self }
    }

    needed! {
        /// The table of the records.
        table, "NIGHTBOOK_TABLE", "the name of the DynamoDB table";
        /// The bucket of the book.
        book_bucket, "NIGHTBOOK_BOOK_BUCKET", "the name of the bucket that holds portfolios.csv";
        /// The bucket of results documents and pinned inputs.
        records_bucket, "NIGHTBOOK_RECORDS_BUCKET", "the name of the bucket for results and pinned inputs";
        /// The bucket of the site.
        site_bucket, "NIGHTBOOK_SITE_BUCKET", "the name of the bucket for the pages";
        /// The queue of portfolios to process.
        work_queue_url, "NIGHTBOOK_WORK_QUEUE_URL", "the URL of the work queue";
        /// The queue of runs to close.
        close_queue_url, "NIGHTBOOK_CLOSE_QUEUE_URL", "the URL of the close queue";
        /// The topic of the alerts.
        alert_topic_arn, "NIGHTBOOK_ALERT_TOPIC_ARN", "the ARN of the SNS topic for alerts";
        /// The bus of the events.
        event_bus, "NIGHTBOOK_EVENT_BUS", "the name of the event bus";
        /// The function that starts runs.
        start_function, "NIGHTBOOK_START_FUNCTION", "the name of the function start-run";
    }

    /// Days after which records may be removed, counted from their writing, two weeks at least. Runs and summaries stay
    /// for ever.
    #[must_use]
    pub fn records_days(&self) -> u32 {
        self.records_days.unwrap_or(RECORDS_DAYS).max(LEAST_RECORDS_DAYS)
    }

    /// Days after which the bucket removes results, counted from their writing: its own rule does it, so that this has to
    /// say the same.
    #[must_use]
    pub fn results_days(&self) -> u32 {
        self.results_days.unwrap_or(RESULTS_DAYS)
    }

    /// The folder of the book in its bucket, without slashes at its ends; empty: the whole bucket.
    #[must_use]
    pub fn book_prefix(&self) -> &str {
        self.book_prefix.as_deref().unwrap_or_default().trim_matches('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_setting_is_named() {
        let settings = Settings::from_variables(|name| (name == "NIGHTBOOK_TABLE").then(|| " records ".into()));
        assert_eq!(settings.table(), Ok("records"));
        assert_eq!(
            settings.site_bucket().unwrap_err().to_string(),
            "the environment variable NIGHTBOOK_SITE_BUCKET is not set: give it the name of the bucket for the pages"
        );
    }

    #[test]
    fn an_empty_setting_is_missing() {
        let settings = Settings::from_variables(|_| Some("  ".into()));
        assert_eq!(settings.work_queue_url().unwrap_err().variable, "NIGHTBOOK_WORK_QUEUE_URL");
        assert_eq!(settings.book_prefix(), "");
    }

    #[test]
    fn days_that_are_none_are_not_set() {
        let set = |days: &'static str| Settings::from_variables(move |_| Some(days.to_owned()));
        assert_eq!((set(" 70 ").records_days(), set("7").results_days()), (70, 7));
        assert_eq!(set("1").records_days(), LEAST_RECORDS_DAYS, "a run may be open for a week");
        for none in ["0", "-1", "soon", ""] {
            assert_eq!((set(none).records_days(), set(none).results_days()), (RECORDS_DAYS, RESULTS_DAYS), "{none}");
        }
    }

    #[test]
    fn a_prefix_has_no_slashes_at_its_ends() {
        assert_eq!(Settings::from_variables(|_| Some("/books/main/".into())).book_prefix(), "books/main");
    }
}
