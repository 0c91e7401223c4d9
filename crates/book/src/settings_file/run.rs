//! `[run]`, `[retention]` and `[restatement]`: what a run does, how long it is kept, and when a later one changes its
//! figures.

use std::ops::Range;

use domain::ids::JobName;
use toml::de::DeValue;

use super::Draft;
use super::values::kind;
use super::walk::{Entry, Key, Walk, key};
use crate::settings::{JOBS, known_job, needs_of};
use crate::value;

pub(super) const RUN: &[Key<Draft>] = &[
    key("jobs", |walk, entry, draft| walk.jobs(entry, draft)),
    key("concurrency", |walk, entry, draft| {
        draft.settings.run.concurrency = walk.whole_number(entry.key, entry.value, &(1..=1_024));
    }),
    key("retries", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=20, &mut draft.settings.run.retries);
    }),
    key("backoff_seconds", |walk, entry, draft| {
        walk.number(entry.key, entry.value, 0.0..=3_600.0, &mut draft.settings.run.backoff_seconds);
    }),
    key("job_timeout_seconds", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=86_400, &mut draft.settings.run.job_timeout_seconds);
    }),
    key("deadline_minutes", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=10_080, &mut draft.settings.run.deadline_minutes);
    }),
    key("price_max_age_sessions", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 0..=250, &mut draft.settings.run.price_max_age_sessions);
    }),
    key("memory_limit_mib", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 256..=16_777_216, &mut draft.settings.run.memory_limit_mib);
    }),
];

pub(super) const RETENTION: &[Key<Draft>] = &[
    key("records_days", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=36_500, &mut draft.settings.retention.records_days);
    }),
    key("results_days", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=36_500, &mut draft.settings.retention.results_days);
    }),
    key("inputs_days", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=36_500, &mut draft.settings.retention.inputs_days);
    }),
];

pub(super) const RESTATEMENT: &[Key<Draft>] = &[key("tolerance", |walk, entry, draft| {
    walk.number(entry.key, entry.value, 0.0..=1.0, &mut draft.settings.restatement.tolerance);
})];

impl Walk<'_> {
    fn jobs(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let value = entry.value;
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`jobs` must be a list of job names, not {found}"));
            return;
        };
        let mut jobs: Vec<JobName> = Vec::new();
        let mut places: Vec<(usize, Range<usize>)> = Vec::new();
        for item in list {
            let Some((text, span)) = self.text(entry.key, item) else { continue };
            let Some(at) = JOBS.iter().position(|job| *job == text) else {
                let near = value::hint(&text, JOBS);
                self.error(&span, format!("no such job{near}; the jobs are {}", JOBS.join(", ")));
                continue;
            };
            if places.iter().any(|(other, _)| *other == at) {
                self.error(&span, format!("`{text}` is in the list twice; each job runs once"));
                continue;
            }
            if let Some((before, _)) = places.iter().find(|(other, _)| *other > at) {
                let message =
                    format!("`{text}` must stand before `{}`; the order is {}", JOBS[*before], JOBS.join(", "));
                self.error(&span, message);
            }
            jobs.push(known_job(JOBS[at]));
            places.push((at, span));
        }
        for (at, span) in &places {
            for need in needs_of(JOBS[*at]) {
                if !jobs.iter().any(|job| job.as_str() == *need) {
                    self.error(span, format!("`{}` needs `{need}`; add it, or leave both out", JOBS[*at]));
                }
            }
        }
        if list.is_empty() {
            self.error(&value.span(), format!("`jobs` must name a job at least; the jobs are {}", JOBS.join(", ")));
        }
        draft.settings.run.jobs = jobs;
    }
}
