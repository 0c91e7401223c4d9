//! `[[jobs]]`: jobs that are programs of the user's own.

use std::ops::Range;

use domain::ids::JobName;
use domain::job_program::JobProgram;
use domain::words::JobType;
use toml::de::DeValue;

use super::values::kind;
use super::walk::{Entry, Key, Walk, key};
use super::{Draft, Table, Value};
use crate::settings::{AddedJob, JOBS, Settings, TAKEN_NAMES};
use crate::value;

/// What is read of a job, before it is known whether it makes one.
#[derive(Default)]
pub(super) struct JobDraft {
    /// The names of the jobs above it.
    taken: Vec<JobName>,
    name: Option<JobName>,
    job_type: Option<JobType>,
    command: Option<(Vec<String>, Range<usize>)>,
    lambda: Option<(String, Range<usize>)>,
    env: Vec<String>,
    needs: Vec<(String, Range<usize>)>,
    critical: bool,
    time_limit_seconds: Option<u32>,
}

/// The keys of a job.
pub(super) const KEYS: &[Key<JobDraft>] = &[
    key("name", |walk, entry, draft| draft.name = walk.added_name(entry, &draft.taken)),
    key("type", |walk, entry, draft| {
        let words: Vec<&str> = JobType::ALL.iter().map(|word| word.as_str()).collect();
        draft.job_type = walk.choice(entry.key, entry.value, &words).and_then(|word| word.parse().ok());
    }),
    key("command", |walk, entry, draft| {
        draft.command = walk.words(entry.key, entry.value).map(|words| (words, entry.value.span()));
    }),
    key("lambda", |walk, entry, draft| {
        let Some((function, span)) = walk.text(entry.key, entry.value) else { return };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':');
        if (1..=170).contains(&function.len()) && function.bytes().all(fits) {
            draft.lambda = Some((function, span));
        } else {
            walk.error(&span, "`lambda` must be the name or the ARN of a function");
        }
    }),
    key("env", |walk, entry, draft| draft.env = walk.env_names(entry.value)),
    key("needs", |walk, entry, draft| draft.needs = walk.needs(entry.value)),
    key("critical", |walk, entry, draft| {
        if let Some(critical) = walk.flag(entry.key, entry.value) {
            draft.critical = critical;
        }
    }),
    key("time_limit_seconds", |walk, entry, draft| {
        draft.time_limit_seconds = walk.whole_number(entry.key, entry.value, &(1..=86_400));
    }),
];

impl Walk<'_> {
    /// Reads `[[jobs]]`, once the list in `[run]` is known.
    pub(super) fn added_jobs(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let (value, settings) = (entry.value, &mut draft.settings);
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`jobs` is {found}; write each job below [[jobs]]"));
            return;
        };
        // Every name of the file: a need for a job that stands further down is another error than one for no job.
        let names: Vec<String> = list
            .iter()
            .filter_map(|item| Some(item.get_ref().as_table()?.get("name")?.get_ref().as_str()?.trim().to_owned()))
            .collect();
        for item in list {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let job = self.added_job(table, &item.span(), settings, &names);
                    settings.added_jobs.extend(job);
                }
                other => {
                    let found = kind(other);
                    self.error(&item.span(), format!("a job must be a table below [[jobs]], not {found}"));
                }
            }
        }
    }

    fn added_job(
        &mut self,
        table: &Table<'_>,
        span: &Range<usize>,
        settings: &Settings,
        names: &[String],
    ) -> Option<AddedJob> {
        let taken = settings.added_jobs.iter().map(|job| job.name.clone()).collect();
        let mut draft = JobDraft { taken, ..JobDraft::default() };
        self.keys("jobs", table, KEYS, &mut draft);
        if table.get("name").is_none() {
            self.error(span, "the job has no `name`");
        }
        let program = self.program(table, span, &mut draft);
        let needs = self.checked_needs(&draft, settings, names);
        Some(AddedJob {
            name: draft.name?,
            program: program?,
            job_type: draft.job_type.unwrap_or(JobType::RiskMetrics),
            needs,
            critical: draft.critical,
            time_limit_seconds: draft.time_limit_seconds,
        })
    }

    /// What the job runs: a command or a function.
    fn program(&mut self, table: &Table<'_>, span: &Range<usize>, draft: &mut JobDraft) -> Option<JobProgram> {
        match (draft.command.take(), draft.lambda.take()) {
            (Some((words, _)), None) => Some(JobProgram::Command { words, env: std::mem::take(&mut draft.env) }),
            (None, Some((function, span))) => {
                self.warn(&span, "a Lambda function is called in the cloud only; on one machine this job fails");
                Some(JobProgram::Lambda { function })
            }
            (Some(_), Some((_, span))) => {
                self.error(&span, "a job has either a `command` or a `lambda`, not both");
                None
            }
            (None, None) => {
                if table.get("command").is_none() && table.get("lambda").is_none() {
                    let wanted = "the job has neither a `command` nor a `lambda`, for example  command = [\"python3\", \"jobs/liquidity.py\"]";
                    self.error(span, wanted);
                }
                None
            }
        }
    }

    fn added_name(&mut self, entry: &Entry<'_, '_>, taken: &[JobName]) -> Option<JobName> {
        let (text, span) = self.text(entry.key, entry.value)?;
        if JOBS.contains(&&*text) || TAKEN_NAMES.contains(&&*text) {
            self.error(&span, "Nightbook has a job or a result of this name itself; take another");
            return None;
        }
        if taken.iter().any(|name| name.as_str() == text) {
            self.error(&span, "another job has this name; names must be unique");
            return None;
        }
        match JobName::new(text) {
            Ok(name) => Some(name),
            Err(_) => {
                self.error(&span, format!("`name` may have {}", JobName::ALLOWED));
                None
            }
        }
    }

    /// A program and its arguments.
    fn words(&mut self, key: &str, value: &Value<'_>) -> Option<Vec<String>> {
        let wanted = format!(
            "`{key}` must be a list of a program and its arguments, for example [\"python3\", \"jobs/liquidity.py\"]; no shell reads it"
        );
        let fits = |word: &str| !word.contains('\0') && word.len() <= 4_096;
        let words = match value.get_ref() {
            DeValue::Array(list) => list
                .iter()
                .map(|item| item.get_ref().as_str().filter(|word| fits(word)).map(str::to_owned))
                .collect::<Option<Vec<String>>>(),
            _ => None,
        };
        let words = words.filter(|words| words.first().is_some_and(|program| !program.trim().is_empty()));
        if words.is_none() {
            self.error(&value.span(), wanted);
        }
        words
    }

    pub(super) fn env_names(&mut self, value: &Value<'_>) -> Vec<String> {
        let wanted = "`env` must be a list of names of environment variables, for example [\"LIQUIDITY_KEY\"]; their values never stand here";
        let names = match value.get_ref() {
            DeValue::Array(list) => list
                .iter()
                .map(|item| item.get_ref().as_str().filter(|name| value::is_variable_name(name)).map(str::to_owned))
                .collect::<Option<Vec<String>>>(),
            _ => None,
        };
        names.unwrap_or_else(|| {
            self.error(&value.span(), wanted);
            Vec::new()
        })
    }

    fn needs(&mut self, value: &Value<'_>) -> Vec<(String, Range<usize>)> {
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`needs` must be a list of job names, not {found}"));
            return Vec::new();
        };
        list.iter().filter_map(|item| self.text("needs", item)).collect()
    }

    /// The needs of a job: built-in jobs that are in the list of `[run]`, and jobs above it in the file.
    fn checked_needs(&mut self, draft: &JobDraft, settings: &Settings, names: &[String]) -> Vec<JobName> {
        let mut needs: Vec<JobName> = Vec::new();
        for (need, span) in &draft.needs {
            let own = draft.name.as_ref().is_some_and(|name| name.as_str() == need);
            let built_in = settings.run.jobs.iter().find(|job| job.as_str() == need);
            let above = settings.added_jobs.iter().map(|job| &job.name).find(|job| job.as_str() == need);
            if own {
                self.error(span, "a job cannot need itself");
            } else if let Some(job) = built_in.or(above) {
                if needs.contains(job) {
                    self.error(span, format!("`{need}` is in the list twice"));
                } else {
                    needs.push(job.clone());
                }
            } else if JOBS.contains(&&**need) {
                self.error(span, format!("`{need}` is not in the list of jobs in [run]; add it there"));
            } else if names.contains(need) {
                self.error(
                    span,
                    format!("`{need}` must stand above the jobs that need it, and be right itself: jobs run in the order of the file"),
                );
            } else {
                let all = settings.run.jobs.iter().map(JobName::as_str).chain(names.iter().map(String::as_str));
                let near =
                    value::nearest(need, all).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                self.error(span, format!("there is no such job{near}"));
            }
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[test]
    fn a_job_of_ones_own_is_read_whole() {
        let (settings, errors, warnings) = parse(
            "[[jobs]]\nname = \"liquidity\"\ntype = \"valuation\"\ncommand = [\"python3\", \"jobs/liquidity.py\"]\nenv = [\"KEY\"]\n\
             needs = [\"position_values_update\"]\ncritical = true\ntime_limit_seconds = 20\n\
             [[jobs]]\nname = \"report\"\nlambda = \"report-function\"\nneeds = [\"liquidity\"]\n",
        );
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let [liquidity, report] = &settings.added_jobs[..] else { panic!("{:?}", settings.added_jobs) };
        let words = ["python3", "jobs/liquidity.py"].map(str::to_owned).to_vec();
        assert_eq!(liquidity.program, JobProgram::Command { words, env: vec!["KEY".into()] });
        assert_eq!((liquidity.job_type, liquidity.critical), (JobType::Valuation, true));
        assert_eq!((liquidity.time_limit_seconds, report.time_limit_seconds), (Some(20), None));
        assert_eq!(report.program, JobProgram::Lambda { function: "report-function".into() });
        assert_eq!(report.needs, std::slice::from_ref(&liquidity.name));
    }

    #[test]
    fn what_is_wrong_with_a_job_is_said_at_its_place() {
        let ok = "command = [\"x\"]\n";
        for (text, said) in [
            (format!("name = \"stress_testing\"\n{ok}"), "Nightbook has a job or a result of this name"),
            (format!("name = \"greeks\"\n{ok}"), "Nightbook has a job or a result of this name"),
            (format!("name = \"../x\"\n{ok}"), "`name` may have"),
            (ok.to_owned(), "the job has no `name`"),
            ("name = \"a\"\n".to_owned(), "neither a `command` nor a `lambda`"),
            (format!("name = \"a\"\nlambda = \"f\"\n{ok}"), "not both"),
            ("name = \"a\"\ncommand = \"rm -rf /\"\n".to_owned(), "no shell reads it"),
            ("name = \"a\"\ncommand = []\n".to_owned(), "no shell reads it"),
            (format!("name = \"a\"\nneeds = [\"a\"]\n{ok}"), "cannot need itself"),
            (format!("name = \"a\"\nneeds = [\"factor_analysys\"]\n{ok}"), "did you mean `factor_analysis`"),
            (format!("name = \"a\"\nenv = [\"A=B\"]\n{ok}"), "names of environment variables"),
            (format!("name = \"a\"\nretry = 3\n{ok}"), "unknown key `jobs.retry`"),
            (format!("name = \"a\"\ntime_limit_seconds = 0\n{ok}"), "from 1 to 86400"),
            (
                format!("name = \"a\"\nneeds = [\"b\"]\n{ok}[[jobs]]\nname = \"b\"\nneeds = [\"a\"]\n{ok}"),
                "must stand above",
            ),
            (format!("name = \"a\"\n{ok}[[jobs]]\nname = \"a\"\n{ok}"), "another job has this name"),
        ] {
            let (_, errors, _) = parse(&format!("[[jobs]]\n{text}"));
            assert!(errors.iter().any(|error| error.contains(said)), "{text}: {errors:?}");
            assert!(errors.iter().all(|error| !error.starts_with("0:")), "{errors:?}");
        }
        let (_, errors, _) = parse(
            "[run]\njobs = [\"market_data_update\"]\n[[jobs]]\nname = \"a\"\nneeds = [\"stress_testing\"]\ncommand = [\"x\"]\n",
        );
        assert!(errors[0].contains("not in the list of jobs in [run]"), "{errors:?}");
    }
}
