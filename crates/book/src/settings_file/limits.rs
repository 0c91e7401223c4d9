//! `[[limits]]`: limits of recorded figures.

use std::ops::Range;

use domain::ids::PortfolioId;
use domain::night::limits::Bound;
use domain::ports::KEY_FIGURES;
use toml::de::DeValue;

use super::values::kind;
use super::walk::{Entry, Key, Walk, key};
use super::{Draft, NamedPortfolios, Table};
use crate::settings::{FigureLimit, LimitScope, Settings, job_of_figure};
use crate::value;

/// The largest limit, positive or negative.
const MOST: f64 = 1e15;

/// What is read of a limit, before it is known whether it makes one.
#[derive(Default)]
pub(super) struct LimitDraft {
    figure: Option<(String, Range<usize>)>,
    max: Option<(f64, Range<usize>)>,
    min: Option<(f64, Range<usize>)>,
    warn: Option<(f64, Range<usize>)>,
    portfolio: Option<(String, Range<usize>)>,
    tag: Option<(String, Range<usize>)>,
    /// Whether a key was named whose value cannot be used.
    is_wrong: bool,
}

impl LimitDraft {
    fn keep<T>(&mut self, value: Option<T>) -> Option<T> {
        self.is_wrong |= value.is_none();
        value
    }
}

/// The keys of a limit.
pub(super) const KEYS: &[Key<LimitDraft>] = &[
    key("figure", |walk, entry, draft| {
        let figure = walk.choice(entry.key, entry.value, &KEY_FIGURES);
        draft.figure = draft.keep(figure).map(|figure| (figure.to_owned(), entry.value.span()));
    }),
    key("max", |walk, entry, draft| {
        let limit = walk.share(entry, -MOST, MOST);
        draft.max = draft.keep(limit);
    }),
    key("min", |walk, entry, draft| {
        let limit = walk.share(entry, -MOST, MOST);
        draft.min = draft.keep(limit);
    }),
    key("portfolio", |walk, entry, draft| {
        let text = walk.text(entry.key, entry.value);
        draft.portfolio = draft.keep(text);
    }),
    key("tag", |walk, entry, draft| {
        let text = walk.text(entry.key, entry.value);
        draft.tag = draft.keep(text);
    }),
    key("warn", |walk, entry, draft| {
        let share = walk.share(entry, 0.0, 1.0);
        draft.warn = draft.keep(share);
    }),
];

impl Walk<'_> {
    /// Reads `[[limits]]`.
    pub(super) fn limits(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let value = entry.value;
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`limits` is {found}; write each limit below [[limits]]"));
            return;
        };
        for item in list {
            let span = item.span();
            let DeValue::Table(table) = item.get_ref() else {
                let found = kind(item.get_ref());
                self.error(&span, format!("a limit must be a table below [[limits]], not {found}"));
                continue;
            };
            let Some(limit) = self.figure_limit(table, &span, draft) else { continue };
            let same = |other: &FigureLimit| {
                (&other.figure, other.bound, &other.portfolios) == (&limit.figure, limit.bound, &limit.portfolios)
            };
            if draft.settings.limits.iter().any(same) {
                let message =
                    format!("another limit is the {} of {} for the same portfolios", limit.bound, limit.figure);
                self.error(&span, message);
                continue;
            }
            draft.settings.limits.push(limit);
        }
    }

    fn figure_limit(&mut self, table: &Table<'_>, span: &Range<usize>, whole: &mut Draft) -> Option<FigureLimit> {
        let mut draft = LimitDraft::default();
        self.keys("limits", table, KEYS, &mut draft);
        if draft.figure.is_none() && !table.contains_key("figure") {
            self.error(span, format!("a limit needs a `figure`; allowed are {}", KEY_FIGURES.join(", ")));
        }
        let named = ["max", "min"].iter().filter(|key| table.contains_key(**key)).count();
        if named != 1 {
            let found = if named == 0 { "neither" } else { "both" };
            self.error(span, format!("a limit needs `max` or `min`, and this one has {found}; losses have a `min`"));
        }
        if let (Some((_, span)), Some(_)) = (&draft.tag, &draft.portfolio) {
            self.error(span, "a limit is for a `portfolio` or for a `tag`; write two limits for both");
            return None;
        }
        let portfolios = match (&draft.portfolio, &draft.tag) {
            (Some((id, span)), _) => match PortfolioId::new(id.as_str()) {
                Ok(id) => {
                    whole.named.push(self.named(span, NamedPortfolios::Id(id.clone())));
                    LimitScope::Portfolio(id)
                }
                Err(_) => {
                    self.error(span, format!("not a portfolio id; allowed are {}", PortfolioId::ALLOWED));
                    return None;
                }
            },
            (None, Some((tag, span))) => {
                whole.named.push(self.named(span, NamedPortfolios::Tag(tag.clone())));
                LimitScope::Tag(tag.clone())
            }
            (None, None) => LimitScope::All,
        };
        let (bound, limit) = match (draft.max, draft.min) {
            (Some((max, _)), None) => (Bound::Max, max),
            (None, Some((min, _))) => (Bound::Min, min),
            _ => return None,
        };
        let (figure, figure_span) = draft.figure?;
        let towards = if bound == Bound::Max { limit > 0.0 } else { limit < 0.0 };
        if let Some((_, span)) = draft.warn.as_ref().filter(|_| !towards) {
            let message = "`warn` has no effect here: a share of a limit means something only where the figure moves from \
                           0 towards it, to a `max` above 0 or a `min` below 0";
            self.warn(span, message);
        }
        whole.wrote.limits.push((figure.clone(), figure_span));
        let warn = draft.warn.map(|(share, _)| share);
        (!draft.is_wrong).then_some(FigureLimit { figure, bound, limit, warn, portfolios })
    }

    /// A number within these bounds, and where it stands.
    fn share(&mut self, entry: &Entry<'_, '_>, least: f64, most: f64) -> Option<(f64, Range<usize>)> {
        let mut number = f64::NAN;
        self.number(entry.key, entry.value, least..=most, &mut number);
        number.is_finite().then(|| (number, entry.value.span()))
    }

    /// Each limit needs the job that records its figure.
    pub(super) fn figures_recorded(&mut self, settings: &Settings, figures: &[(String, Range<usize>)]) {
        for (figure, span) in figures {
            let job = job_of_figure(figure).filter(|job| !settings.run.jobs.iter().any(|known| known.as_str() == *job));
            if let Some(job) = job {
                let message = format!("the job {job} records `{figure}`, and [run] jobs leaves it out");
                self.error(span, message);
            }
        }
    }
}

impl NamedPortfolios {
    /// What is wrong with the name, given all portfolios of the book.
    pub(crate) fn complaint(&self, portfolios: &[crate::Portfolio]) -> Option<String> {
        match self {
            Self::Id(id) => {
                if portfolios.iter().any(|portfolio| portfolio.id == *id) {
                    return None;
                }
                let near = value::hint(id.as_str(), portfolios.iter().take(500).map(|portfolio| portfolio.id.as_str()));
                Some(format!("portfolios.csv has no such portfolio{near}"))
            }
            Self::Tag(tag) => {
                let tags = || portfolios.iter().flat_map(|portfolio| &portfolio.tags);
                if tags().any(|known| known == tag) {
                    return None;
                }
                let near = value::hint(tag, tags().take(500).map(String::as_str));
                Some(format!("no portfolio of portfolios.csv has this tag{near}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::Findings;

    /// The limits, and the errors and warnings as `line: message`.
    fn limits(text: &str) -> (Vec<FigureLimit>, Vec<String>, Vec<String>) {
        let (mut errors, mut warnings) = (Findings::new("nightbook.toml"), Findings::new("nightbook.toml"));
        let settings = super::super::read(text.as_bytes(), &mut errors, &mut warnings).settings;
        let lines = |found: Findings| {
            found.finish().iter().map(|one| format!("{}: {}", one.line, one.message)).collect::<Vec<String>>()
        };
        (settings.limits, lines(errors), lines(warnings))
    }

    #[test]
    fn a_limit_is_read_whole() {
        let text = "[[limits]]\nfigure = \"var_95\"\nmin = -0.02\nportfolio = \"p\"\nwarn = 0.8\n\
                    [[limits]]\nfigure = \"leverage\"\nmax = 2\ntag = \"core\"\n[[limits]]\nfigure = \"coverage\"\nmin = 0.95\n";
        let (found, errors, warnings) = limits(text);
        assert_eq!((errors.len(), warnings.len()), (0, 0), "{errors:?} {warnings:?}");
        let limit = |figure: &str, bound, limit, warn, portfolios| FigureLimit {
            figure: figure.to_owned(),
            bound,
            limit,
            warn,
            portfolios,
        };
        let id = PortfolioId::new("p").unwrap();
        let wanted = [
            limit("var_95", Bound::Min, -0.02, Some(0.8), LimitScope::Portfolio(id)),
            limit("leverage", Bound::Max, 2.0, None, LimitScope::Tag("core".to_owned())),
            limit("coverage", Bound::Min, 0.95, None, LimitScope::All),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn everything_wrong_with_limits_is_said_at_its_line() {
        let text = "[[limits]]\nfigure = \"var95\"\nmin = -0.02\n\
                    [[limits]]\nfigure = \"var_95\"\n\
                    [[limits]]\nmax = 1\n\
                    [[limits]]\nfigure = \"var_95\"\nmin = 1\nmax = 2\n\
                    [[limits]]\nfigure = \"net\"\nmax = 2\nportfolio = \"p\"\ntag = \"t\"\n\
                    [[limits]]\nfigure = \"net\"\nmax = \"2\"\nlimit = 3\nwarn = 1.5\n\
                    [[limits]]\nfigure = \"net\"\nmax = 2\n[[limits]]\nfigure = \"net\"\nmax = 3\n\
                    [[limits]]\nfigure = \"net\"\nmin = 3\nportfolio = \".p\"\n\
                    [[limits]]\nfigure = \"worst_case_pnl\"\nmin = -5\n\
                    [run]\njobs = [\"market_data_update\", \"position_values_update\", \"portfolio_aggregation\", \"portfolio_snapshot\"]\n";
        let (found, errors, _) = limits(text);
        assert_eq!(found.len(), 2, "{found:?}");
        let starts = [
            "2: `figure` must be one of cash_balance, coverage, ",
            "4: a limit needs `max` or `min`, and this one has neither",
            "6: a limit needs a `figure`; allowed are cash_balance, coverage,",
            "8: a limit needs `max` or `min`, and this one has both",
            "16: a limit is for a `portfolio` or for a `tag`",
            "19: `max` must be a number",
            "20: unknown key `limits.limit`",
            "21: `warn` must be a number from 0 to 1",
            "25: another limit is the maximum of net for the same portfolios",
            "31: not a portfolio id",
            "33: the job stress_testing records `worst_case_pnl`",
        ];
        let of = |found: &String| starts.iter().position(|start| found.starts_with(start));
        let places: Vec<Option<usize>> = errors.iter().map(of).collect();
        assert_eq!(places, (0..starts.len()).map(Some).collect::<Vec<_>>(), "{errors:#?}");
    }

    #[test]
    fn a_share_of_a_limit_that_is_approached_from_beyond_zero_warns() {
        let (found, errors, warnings) = limits("[[limits]]\nfigure = \"coverage\"\nmin = 0.95\nwarn = 0.9\n");
        assert_eq!((found.len(), errors.len(), warnings.len()), (1, 0, 1), "{errors:?}");
        assert!(warnings[0].starts_with("4: `warn` has no effect here"), "{warnings:?}");
    }
}
