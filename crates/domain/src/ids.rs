//! Identities: small validated newtypes, so that an id can become a key, a file name or a URL without another check.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not usable: {allowed}")]
pub struct InvalidId {
    /// What kind of id was wanted, for example "portfolio id".
    pub what: &'static str,
    /// The text as it was given, cut at 80 characters.
    pub text: String,
    /// What is allowed instead.
    pub allowed: &'static str,
}

impl InvalidId {
    fn new(what: &'static str, text: &str, allowed: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), allowed }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// What is allowed, as an error message says it.
            pub const ALLOWED: &'static str = $allowed;

            /// The same as a regular expression.
            pub const PATTERN: &'static str = $pattern;

            /// Checks a text and makes it an id.
            ///
            /// # Errors
            /// [`InvalidId`] names the text and what is allowed.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidId::new($what, &text, $allowed)) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let text = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
                text.pattern(Some(Self::PATTERN)).description(Some($allowed)).build().into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_id_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

text_id!(
    /// A portfolio, as `portfolios.csv` names it. Safe as a file name, a key and a URL segment.
    PortfolioId,
    "portfolio id",
    "1 to 64 characters of A-Z a-z 0-9 . _ -, not starting with a dot",
    r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$",
    |text| (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_id_char)
);

text_id!(
    /// The name of a job, for example `factor_analysis`. Safe as a file name, a key and a URL segment.
    JobName,
    "job name",
    "1 to 64 characters of a-z 0-9 _, starting with a letter",
    r"^[a-z][a-z0-9_]{0,63}$",
    |text| (1..=64).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
);

text_id!(
    /// The name of a schedule: the named rule that starts runs.
    ScheduleName,
    "schedule name",
    "1 to 64 characters of A-Z a-z 0-9 . _ -, not starting with a dot",
    r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$",
    |text| (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_id_char)
);

text_id!(
    /// A month of trading dates, as `yyyy-mm`.
    Month,
    "month",
    "a year of four digits and a month, as in 2026-11",
    r"^[0-9]{4}-(0[1-9]|1[0-2])$",
    |text| {
        let shape = |(at, byte): (usize, u8)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() };
        text.len() == 7 && text.bytes().enumerate().all(shape) && matches!(text[5..].parse(), Ok(1..=12_u8))
    }
);

text_id!(
    /// The fingerprint of an error: 16 hexadecimal digits, the same for the same cause everywhere.
    Fingerprint,
    "fingerprint",
    "16 hexadecimal digits",
    r"^[0-9a-f]{16}$",
    |text| text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

text_id!(
    /// Why a run did not go well: the fingerprint of an error, or the name of what is no error of a job.
    CauseId,
    "cause",
    "a fingerprint of 16 hexadecimal digits, or one of missing_records, no_portfolios, missed_run, overdue_run, \
     absent_portfolios, control_NAME, other",
    r"^([0-9a-f]{16}|missing_records|no_portfolios|missed_run|overdue_run|absent_portfolios|control_[a-z_]{1,40}|other)$",
    |text| Fingerprint::new(text).is_ok() || CauseId::NAMED.contains(&text) || CauseId::is_control_name(text)
);

impl CauseId {
    /// Jobs without a record: their work item was lost, timed out or given up.
    pub const MISSING: &'static str = "missing_records";
    /// There was no portfolio to process.
    pub const NO_PORTFOLIOS: &'static str = "no_portfolios";
    /// The slot passed without a run.
    pub const MISSED: &'static str = "missed_run";
    /// The run goes on for longer than it may.
    pub const OVERDUE: &'static str = "overdue_run";
    /// Expected portfolios are in no run of the night.
    pub const ABSENT: &'static str = "absent_portfolios";
    /// A run changed figures that were recorded before. No night has it as a cause; a mute may name it.
    pub const RESTATEMENT: &'static str = "restatement";
    /// Whatever else kept a run from going well.
    pub const OTHER: &'static str = "other";

    const NAMED: [&'static str; 7] =
        [Self::MISSING, Self::NO_PORTFOLIOS, Self::MISSED, Self::OVERDUE, Self::ABSENT, Self::RESTATEMENT, Self::OTHER];

    const CONTROL: &'static str = "control_";

    fn is_control_name(text: &str) -> bool {
        text.strip_prefix(Self::CONTROL).is_some_and(|name| {
            (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
    }

    /// The cause of a control that did not pass, whichever portfolio it is about.
    #[must_use]
    pub fn of_control(control: crate::night::Control) -> Self {
        Self(format!("{}{control}", Self::CONTROL))
    }

    /// Whether this is a control that did not pass.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.0.starts_with(Self::CONTROL)
    }

    /// One of the named causes.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        debug_assert!(Self::NAMED.contains(&name), "{name} is no named cause");
        Self(name.to_owned())
    }
}

impl From<&Fingerprint> for CauseId {
    fn from(fingerprint: &Fingerprint) -> Self {
        Self(fingerprint.0.clone())
    }
}

text_id!(
    /// The name of a channel through which people are told. Safe in a log, a key and a command line.
    ChannelName,
    "channel name",
    "1 to 64 characters of A-Z a-z 0-9 . _ -, not starting with a dot",
    r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$",
    |text| (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_id_char)
);

text_id!(
    /// SHA-256 of some content, as 64 hexadecimal digits.
    ContentHash,
    "content hash",
    "64 hexadecimal digits",
    r"^[0-9a-f]{64}$",
    |text| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

impl ContentHash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The first 12 digits, enough to tell two hashes apart on a page.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// One scheduled pass over all portfolios (`batch_run_id`). See [`crate::identity`] for how it is derived.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunId(pub Uuid);

impl RunId {
    /// The first eight digits, enough for a table.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.simple().to_string()[..8].to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl FromStr for RunId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| InvalidId::new("run id", text, "a UUID such as 7d0a1c2e-5b3f-5a6d-9c1b-2f4e6a8b0c1d"))
    }
}

/// Who holds a lease: one value for each invocation of a function or start of a process, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(pub Uuid);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn portfolio_ids_that_could_leave_a_folder_are_refused() {
        for bad in ["", ".", "..", "../../x", "a/b", "a\\b", "a b", "ü", ".hidden", "a\0", &"x".repeat(65)] {
            assert!(PortfolioId::new(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "A-1_b.c", "0", &"x".repeat(64)] {
            assert!(PortfolioId::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn an_error_names_the_text_and_what_is_allowed() {
        let error = PortfolioId::new("../../x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "portfolio id \"../../x\" is not usable: 1 to 64 characters of A-Z a-z 0-9 . _ -, not starting with a dot"
        );
    }

    /// The pattern that programs are told and the check that is made accept the same.
    fn agree<T: FromStr>(pattern: &str, text: &str) {
        let is_told = regex::Regex::new(pattern).unwrap().is_match(text);
        assert_eq!(is_told, text.parse::<T>().is_ok(), "{pattern} and the check disagree about {text:?}");
    }

    #[test]
    fn patterns_agree_about_the_limits() {
        for text in
            ["", ".", "a", "-", "_", "0", "A", "a.b", "other", "a\n", &"a".repeat(64), &"f".repeat(65), &"0".repeat(16)]
        {
            agree::<PortfolioId>(PortfolioId::PATTERN, text);
            agree::<JobName>(JobName::PATTERN, text);
            agree::<Fingerprint>(Fingerprint::PATTERN, text);
            agree::<CauseId>(CauseId::PATTERN, text);
            agree::<Month>(Month::PATTERN, text);
            agree::<ContentHash>(ContentHash::PATTERN, text);
        }
    }

    #[test]
    fn a_month_is_a_year_and_a_month() {
        for text in [
            "2026-11",
            "0000-01",
            "26-11",
            "2026-1",
            "2026-13",
            "2026-00",
            "2026-+1",
            "2026/11",
            "2026-11-01",
            "2026-1é",
        ] {
            agree::<Month>(Month::PATTERN, text);
        }
        assert!(Month::new("2026-11").is_ok());
        assert_eq!(
            Month::new("26-11").unwrap_err().to_string(),
            "month \"26-11\" is not usable: a year of four digits and a month, as in 2026-11"
        );
    }

    proptest! {
        #[test]
        fn patterns_agree_about_any_text(text in "[a-zA-Z0-9._ é/-]{0,70}") {
            agree::<PortfolioId>(PortfolioId::PATTERN, &text);
            agree::<JobName>(JobName::PATTERN, &text);
            agree::<Fingerprint>(Fingerprint::PATTERN, &text);
        }

        #[test]
        fn no_text_panics_and_accepted_ids_survive_json(text in ".{0,80}") {
            if let Ok(id) = PortfolioId::new(text) {
                let json = serde_json::to_string(&id).unwrap();
                prop_assert_eq!(serde_json::from_str::<PortfolioId>(&json).unwrap(), id);
            }
        }
    }
}
