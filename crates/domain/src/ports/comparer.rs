//! The comparison of the pinned inputs of two runs.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::StoreError;
use crate::ids::{ContentHash, PortfolioId};
use crate::night::editions::InputChanges;

/// Compares pinned inputs.
#[async_trait]
pub trait InputComparer: Send + Sync {
    /// What differs between two pinned inputs, as far as it concerns these portfolios. `None` where either is gone.
    ///
    /// The version of Nightbook is no part of pinned inputs and stays empty.
    async fn compare(
        &self,
        was: &ContentHash,
        now: &ContentHash,
        portfolios: &BTreeSet<PortfolioId>,
    ) -> Result<Option<InputChanges>, StoreError>;
}

/// Compares nothing, for runs whose inputs cannot be read here.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoComparison;

#[async_trait]
impl InputComparer for NoComparison {
    async fn compare(
        &self,
        _was: &ContentHash,
        _now: &ContentHash,
        _portfolios: &BTreeSet<PortfolioId>,
    ) -> Result<Option<InputChanges>, StoreError> {
        Ok(None)
    }
}
