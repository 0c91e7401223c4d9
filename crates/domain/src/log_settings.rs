//! What the environment says about logs, for every program.

/// How much is logged, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// A level, or a filter such as `info,domain=debug`; none where nothing is said.
    pub level: Option<String>,
    /// Whether lines are JSON; none where nothing is said.
    pub json: Option<bool>,
}

impl LogSettings {
    /// Reads `LOG_LEVEL` before `AWS_LAMBDA_LOG_LEVEL`, and `AWS_LAMBDA_LOG_FORMAT` before `ENVIRONMENT`.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let of_lambda = |level: String| if level.eq_ignore_ascii_case("fatal") { "error".to_owned() } else { level };
        let level = said("LOG_LEVEL").or_else(|| said("AWS_LAMBDA_LOG_LEVEL").map(of_lambda));
        let production = said("ENVIRONMENT").is_some_and(|text| text.eq_ignore_ascii_case("production"));
        let json = match said("AWS_LAMBDA_LOG_FORMAT").map(|format| format.to_ascii_lowercase()).as_deref() {
            Some("json") => Some(true),
            Some("text") => Some(false),
            _ => production.then_some(true),
        };
        Self { level, json }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (Option<String>, Option<bool>) {
        let found =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let LogSettings { level, json } = LogSettings::of(found);
        (level, json)
    }

    #[test]
    fn each_variable_is_honoured_and_the_nearer_one_wins() {
        assert_eq!(of(&[]), (None, None));
        assert_eq!(of(&[("LOG_LEVEL", "  "), ("ENVIRONMENT", "test")]), (None, None));
        assert_eq!(of(&[("ENVIRONMENT", "Production")]), (None, Some(true)));
        assert_eq!(
            of(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG"), ("AWS_LAMBDA_LOG_FORMAT", "JSON")]),
            (Some("DEBUG".into()), Some(true))
        );
        assert_eq!(of(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")]), (Some("error".into()), None));
        assert_eq!(of(&[("LOG_LEVEL", "warn"), ("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]), (Some("warn".into()), None));
        assert_eq!(of(&[("AWS_LAMBDA_LOG_FORMAT", "Text"), ("ENVIRONMENT", "production")]), (None, Some(false)));
    }
}
