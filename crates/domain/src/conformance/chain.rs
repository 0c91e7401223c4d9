//! Rules of the chain of closed runs. They append to the chain, so the store must be one for tests.

use super::fixtures::{new_year, number};
use crate::chain::{Appended, Link, RunRoots};
use crate::ids::{ContentHash, RunId};
use crate::ports::RunStore;
use crate::run::samples::at;

/// Calls a macro with the names of all rules of the [`Chain`](crate::ports::Chain).
#[macro_export]
macro_rules! chain_rules {
    ($with:ident) => {
        $with! {
            a_link_is_appended_once
            a_run_has_one_link
            links_are_read_in_order
        }
    };
}

fn run_of(seed: u128, n: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(number(seed, n)))
}

fn roots(seed: u128, n: u128) -> RunRoots {
    let hash = |what: &str| ContentHash::of(format!("{what} {seed} {n} {}", new_year(seed)).as_bytes());
    RunRoots {
        summary: hash("summary"),
        records: hash("records"),
        results: hash("results"),
        inputs: Some(hash("inputs")),
    }
}

/// The newest link, after a genesis link was appended if there was none.
async fn newest(store: &dyn RunStore) -> Link {
    if let Some(newest) = store.newest_link().await.unwrap() {
        return newest;
    }
    let genesis = Link::genesis(at(0), ContentHash::of(b"no runs"));
    assert_eq!(store.append_link(&genesis).await.unwrap(), Appended::Appended);
    genesis
}

/// A link is stored as it was given; of two with the same number, one is stored.
pub async fn a_link_is_appended_once(store: &dyn RunStore, seed: u128) {
    let before = newest(store).await;
    let link = before.followed_by(run_of(seed, 1), at(1), roots(seed, 1));
    let other = before.followed_by(run_of(seed, 2), at(2), roots(seed, 2));
    assert_eq!(store.append_link(&link).await.unwrap(), Appended::Appended);
    assert_eq!(store.append_link(&other).await.unwrap(), Appended::NumberTaken);
    assert_eq!(store.newest_link().await.unwrap(), Some(link.clone()));
    assert_eq!(store.link_of(run_of(seed, 1)).await.unwrap(), Some(link.clone()));
    assert_eq!(store.link_of(run_of(seed, 2)).await.unwrap(), None, "its number was taken");
    let next = link.followed_by(run_of(seed, 2), at(2), roots(seed, 2));
    assert_eq!(store.append_link(&next).await.unwrap(), Appended::Appended, "the next number is free");
    assert_eq!(store.link_of(run_of(seed, 2)).await.unwrap(), Some(next.clone()));
    assert_eq!(store.newest_link().await.unwrap(), Some(next));
    let genesis = Link::genesis(at(3), ContentHash::of(b"again"));
    assert_eq!(store.append_link(&genesis).await.unwrap(), Appended::NumberTaken, "the chain has begun");
}

/// A run that has a link gets no second one.
pub async fn a_run_has_one_link(store: &dyn RunStore, seed: u128) {
    let link = newest(store).await.followed_by(run_of(seed, 1), at(1), roots(seed, 1));
    assert_eq!(store.append_link(&link).await.unwrap(), Appended::Appended);
    assert_eq!(store.append_link(&link).await.unwrap(), Appended::RunHasLink(link.clone()), "the reply was lost");
    let again = link.followed_by(run_of(seed, 1), at(2), roots(seed, 3));
    assert_eq!(store.append_link(&again).await.unwrap(), Appended::RunHasLink(link.clone()));
    assert_eq!(store.newest_link().await.unwrap(), Some(link));
}

/// Links come by their numbers, after the one that was read last, at most as many as were asked for.
pub async fn links_are_read_in_order(store: &dyn RunStore, seed: u128) {
    let mut expected = vec![newest(store).await];
    for n in 1..=12 {
        let link = expected[expected.len() - 1].followed_by(run_of(seed, n), at(1), roots(seed, n));
        assert_eq!(store.append_link(&link).await.unwrap(), Appended::Appended);
        expected.push(link);
    }
    let first = expected[0].number;
    let read = async |after: u64, limit: usize| store.links(after, limit).await.unwrap();
    assert_eq!(read(first - 1, 100).await, expected);
    assert_eq!(read(first, 5).await, expected[1..6]);
    assert_eq!(read(first + 10, 5).await, expected[11..]);
    assert_eq!(read(first + 12, 5).await, []);
    assert_eq!(read(0, 1).await[0].number, 1, "the genesis link comes first");
}
