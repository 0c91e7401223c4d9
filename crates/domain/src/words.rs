//! The status words, one list for records, JSON, pages and logs. Each string is pinned by a test.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word of the list, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it is stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let text = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
                text.enum_values(Some(Self::ALL.iter().map(|word| word.as_str()))).build().into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| UnknownWord {
                    text: text.chars().take(80).collect(),
                    allowed: Self::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "),
                    near: crate::names::near(text, Self::ALL.iter().map(|word| word.as_str()))
                        .first()
                        .map_or_else(String::new, |near| format!("; did you mean {near}?")),
                })
            }
        }
    };
}

/// A text that is none of the words of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not one of: {allowed}{near}")]
pub struct UnknownWord {
    /// The text as given.
    pub text: String,
    /// The words of the list, separated by commas.
    pub allowed: String,
    /// "; did you mean ...?", where a word resembles the text.
    pub near: String,
}

words! {
    /// Where one job of one portfolio in one run stands.
    JobStatus {
        /// Not begun yet.
        Pending = "pending",
        /// In hand.
        Running = "running",
        /// Ended well.
        Success = "success",
        /// Ended with an error.
        Failed = "failed",
        /// Not run, because a job it stands on did not succeed.
        Skipped = "skipped",
        /// Should have a record and has none.
        Missing = "missing",
    }
}

words! {
    /// Where a run stands, or how it ended.
    RunStatus {
        /// Not closed yet.
        Running = "running",
        /// Every job succeeded.
        Success = "success",
        /// Some portfolio succeeded wholly, and some job did not succeed.
        Partial = "partial",
        /// No portfolio succeeded wholly, or there was none.
        Failed = "failed",
        /// A scheduled slot without a run.
        Missed = "missed",
    }
}

words! {
    /// The family of a job.
    JobType {
        /// Prices.
        MarketData = "market_data",
        /// Values and totals.
        Valuation = "valuation",
        /// Sensitivities, factors, scenarios, correlations.
        RiskMetrics = "risk_metrics",
        /// The figures of a portfolio on a day.
        Snapshots = "snapshots",
    }
}

words! {
    /// What kind of fault an error is. It decides about retries, and is carried by types, never guessed from text.
    ErrorCategory {
        /// May go away by itself: tried again.
        Transient = "transient",
        /// Will be the same next time: not tried again.
        Permanent = "permanent",
        /// A defect of ours, a panic for example: tried again.
        Internal = "internal",
        /// The time limit passed: tried again.
        Timeout = "timeout",
    }
}

words! {
    /// How good the data under a result was.
    QualityFlag {
        /// Every public position has the whole window.
        Full = "full",
        /// Fewer returns than the window, or a position left out.
        Limited = "limited",
        /// Nothing usable.
        Failed = "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned<T: serde::Serialize + Copy + std::fmt::Display>(all: &[T]) -> Vec<String> {
        all.iter()
            .map(|word| {
                let json = serde_json::to_value(word).unwrap();
                assert_eq!(json, serde_json::Value::String(word.to_string()));
                word.to_string()
            })
            .collect()
    }

    #[test]
    fn every_word_is_spelled_as_agreed() {
        assert_eq!(pinned(JobStatus::ALL), ["pending", "running", "success", "failed", "skipped", "missing"]);
        assert_eq!(pinned(RunStatus::ALL), ["running", "success", "partial", "failed", "missed"]);
        assert_eq!(pinned(JobType::ALL), ["market_data", "valuation", "risk_metrics", "snapshots"]);
        assert_eq!(pinned(ErrorCategory::ALL), ["transient", "permanent", "internal", "timeout"]);
        assert_eq!(pinned(QualityFlag::ALL), ["full", "limited", "failed"]);
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_list() {
        let error = "completed".parse::<JobStatus>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"completed\" is not one of: pending, running, success, failed, skipped, missing"
        );
    }
}
