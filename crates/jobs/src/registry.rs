//! What a job is, and the list of all jobs.
//!
//! To add a job: write `src/jobs/<name>.rs` with a type that implements [`Job`], and add one line to `REGISTRY` (the
//! settings know it once its name is in `book::settings::JOBS`). The job list, the needs, panics, time limits and the
//! results document follow from that.

use std::any::Any;
use std::sync::Arc;

use domain::ids::JobName;
use domain::job_context::JobContext;
use domain::record::{JobError, JobOutput};
use domain::words::{ErrorCategory, JobType};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::jobs::{
    factor_analysis::FactorAnalysis, greeks_calculation::GreeksCalculation, market_data_update::MarketDataUpdate,
    market_risk_scenarios::MarketRiskScenarios, portfolio_aggregation::PortfolioAggregation,
    portfolio_snapshot::PortfolioSnapshot, position_correlations::PositionCorrelations,
    position_values_update::PositionValuesUpdate, stress_testing::StressTesting,
};
use crate::shared::Shared;
use crate::snapshot::PinnedPortfolio;

/// Every job, in the order in which they run.
pub(crate) const REGISTRY: &[Entry] = &[
    Entry::of::<MarketDataUpdate>(),
    Entry::of::<PositionValuesUpdate>(),
    Entry::of::<PortfolioAggregation>(),
    Entry::of::<GreeksCalculation>(),
    Entry::of::<FactorAnalysis>(),
    Entry::of::<MarketRiskScenarios>(),
    Entry::of::<StressTesting>(),
    Entry::of::<PortfolioSnapshot>(),
    Entry::of::<PositionCorrelations>(),
];

/// What is fixed about a job.
#[derive(Debug)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// Its family.
    pub job_type: JobType,
    /// Whether its failure skips the rest of the portfolio.
    pub critical: bool,
    /// Jobs that must have succeeded first.
    pub needs: &'static [&'static str],
    /// Whether its work is done once for the run.
    pub run_level: bool,
    /// Its part of the results document; none where it has none.
    pub section: Option<&'static str>,
}

/// A part of the results document: its name, and what is serialized into it.
pub type Section<'a> = (&'static str, &'a dyn Writable);

/// Anything that can be serialized as JSON, its type forgotten.
pub trait Writable {
    /// Appends the JSON. A number that is not finite is written as null.
    ///
    /// # Errors
    /// A value that JSON cannot express; none is expected.
    fn write(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error>;
}

impl<T: Serialize> Writable for T {
    fn write(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(json, self)
    }
}

/// A job: a pure function from the pinned inputs and the outputs of earlier jobs to its own output.
pub trait Job: 'static {
    /// What is fixed about it.
    const ABOUT: &'static About;
    /// What later jobs read, and what is serialised into its part of the results document.
    type Output: Serialize + Send + Sync + 'static;
    /// Parts of the results document beside the one that [`About::section`] names.
    fn further(_output: &Self::Output) -> Vec<Section<'_>> {
        Vec::new()
    }
    /// Runs it. Says how far it is through [`Input::context`], at least every 50 ms of work.
    ///
    /// # Errors
    /// What happened, to what, and what to do.
    fn run(input: &Input<'_>) -> Result<(Self::Output, JobOutput), JobError>;
}

/// What a job gets to work with.
#[derive(Debug)]
pub struct Input<'a> {
    /// The portfolio.
    pub portfolio: &'a PinnedPortfolio,
    /// What all portfolios of the run share.
    pub shared: &'a Shared,
    /// Outputs of the jobs before.
    pub earlier: &'a Outputs,
    /// Progress and cancellation.
    pub context: &'a JobContext,
}

impl<'a> Input<'a> {
    /// The output of an earlier job, if it succeeded.
    #[must_use]
    pub fn optional<J: Job>(&self) -> Option<&'a J::Output> {
        self.earlier.get::<J>()
    }

    /// The output of an earlier job that this one needs.
    ///
    /// # Errors
    /// Permanent: the job list has the one without the other.
    pub fn needed<J: Job>(&self) -> Result<&'a J::Output, JobError> {
        self.optional::<J>().ok_or_else(|| {
            JobError::new(
                ErrorCategory::Permanent,
                format!("the job needs {}, which did not run: add it to the job list in [run]", J::ABOUT.name),
            )
        })
    }
}

/// An output of any job.
trait Part: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    /// Its parts of the results document, that of [`About::section`] first.
    fn sections(&self) -> Vec<Section<'_>>;
}

struct Typed<J: Job>(J::Output);

impl<J: Job> Part for Typed<J> {
    fn as_any(&self) -> &dyn Any {
        &self.0
    }

    fn sections(&self) -> Vec<Section<'_>> {
        let first = J::ABOUT.section.map(|section| (section, &self.0 as &dyn Writable));
        first.into_iter().chain(J::further(&self.0)).collect()
    }
}

/// Outputs of the jobs that succeeded so far. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outputs {
    parts: Vec<(&'static About, Arc<dyn Part>)>,
    /// What programs of the user's own gave back, in the order in which they ran.
    added: Vec<(JobName, Arc<RawValue>)>,
}

impl std::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let added = self.added.iter().map(|(name, _)| name.as_str());
        f.debug_list().entries(self.parts.iter().map(|(about, _)| about.name).chain(added)).finish()
    }
}

impl Outputs {
    /// The output of a job.
    #[must_use]
    pub fn get<J: Job>(&self) -> Option<&J::Output> {
        let (_, part) = self.parts.iter().find(|(about, _)| about.name == J::ABOUT.name)?;
        part.as_any().downcast_ref()
    }

    /// Adds an output; the newer one of a job replaces the older.
    pub(crate) fn add(&mut self, output: Output) {
        self.parts.retain(|(about, _)| about.name != output.about.name);
        self.parts.push((output.about, output.part));
    }

    /// Adds what a program gave back; the newer one of a job replaces the older.
    pub(crate) fn add_result(&mut self, job: JobName, result: Arc<RawValue>) {
        self.added.retain(|(name, _)| *name != job);
        self.added.push((job, result));
    }

    /// The parts of the results document that a job has put out: their names in the document, and the JSON.
    ///
    /// # Errors
    /// A part that is no JSON; none is expected.
    pub(crate) fn parts_of(&self, job: &JobName) -> Result<Vec<(String, Box<RawValue>)>, serde_json::Error> {
        if let Some((name, result)) = self.added.iter().find(|(name, _)| name == job) {
            return Ok(vec![(name.to_string(), result.as_ref().to_owned())]);
        }
        let found = self.parts.iter().find(|(about, _)| about.name == job.as_str());
        let sections = found.map_or_else(Vec::new, |(_, part)| part.sections());
        let read = |(name, section): (&str, &dyn Writable)| {
            let mut json = Vec::new();
            section.write(&mut json)?;
            Ok((name.to_owned(), serde_json::from_slice(&json)?))
        };
        sections.into_iter().map(read).collect()
    }

    /// The results document: the parts of the jobs, in their order; none where there is no part.
    ///
    /// # Errors
    /// A part that is no JSON; none is expected.
    pub fn document(&self) -> Result<Option<Vec<u8>>, serde_json::Error> {
        let mut json = Vec::new();
        // A program may have had the name before the section did: its result keeps it.
        let is_free = |name: &str| self.added.iter().all(|(added, _)| added.as_str() != name);
        for (name, section) in self.parts.iter().flat_map(|(_, part)| part.sections()).filter(|(name, _)| is_free(name))
        {
            json.push(if json.is_empty() { b'{' } else { b',' });
            serde_json::to_writer(&mut json, name)?;
            json.push(b':');
            section.write(&mut json)?;
        }
        for (name, result) in &self.added {
            json.push(if json.is_empty() { b'{' } else { b',' });
            serde_json::to_writer(&mut json, name.as_str())?;
            json.push(b':');
            json.extend_from_slice(result.get().as_bytes());
        }
        if json.is_empty() {
            return Ok(None);
        }
        json.push(b'}');
        Ok(Some(json))
    }
}

/// What a job has put out, its type forgotten.
pub(crate) struct Output {
    about: &'static About,
    part: Arc<dyn Part>,
}

type Run = fn(&Input<'_>) -> Result<(Output, JobOutput), JobError>;

/// A job, its type forgotten.
pub(crate) struct Entry {
    pub(crate) about: &'static About,
    pub(crate) run: Run,
}

impl Entry {
    pub(crate) const fn of<J: Job>() -> Self {
        Self {
            about: J::ABOUT,
            run: |input| {
                let (output, brief) = J::run(input)?;
                Ok((Output { about: J::ABOUT, part: Arc::new(Typed::<J>(output)) }, brief))
            },
        }
    }

    /// The job of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        REGISTRY.iter().find(|entry| entry.about.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Job for Two {
        const ABOUT: &'static About = &About {
            name: "two",
            job_type: JobType::Snapshots,
            critical: false,
            needs: &[],
            run_level: false,
            section: Some("first"),
        };
        type Output = f64;
        fn further(output: &f64) -> Vec<Section<'_>> {
            vec![("second", output)]
        }
        fn run(_input: &Input<'_>) -> Result<(f64, JobOutput), JobError> {
            Ok((1.5, JobOutput::default()))
        }
    }

    fn outputs() -> Outputs {
        let mut outputs = Outputs::default();
        outputs.add(Output { about: Two::ABOUT, part: Arc::new(Typed::<Two>(1.5)) });
        outputs
    }

    fn document(outputs: &Outputs) -> String {
        String::from_utf8(outputs.document().unwrap().unwrap()).unwrap()
    }

    #[test]
    fn a_job_may_have_several_parts_of_the_document() {
        assert_eq!(document(&outputs()), r#"{"first":1.5,"second":1.5}"#);
        let parts = outputs().parts_of(&JobName::new("two").unwrap()).unwrap();
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
    }

    #[test]
    fn the_result_of_a_program_keeps_its_name() {
        let mut outputs = outputs();
        let result = RawValue::from_string("[7]".to_owned()).unwrap();
        outputs.add_result(JobName::new("second").unwrap(), Arc::from(result));
        assert_eq!(document(&outputs), r#"{"first":1.5,"second":[7]}"#);
    }
}
