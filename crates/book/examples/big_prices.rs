//! Reads a large price file and prints rows a second and the peak of memory.
//!
//! `cargo run --release -p book --example big_prices -- [ROWS] [by-symbol|by-date]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not a part of the product")]

use std::fmt::Write as _;
use std::io::Read;
use std::time::Instant;

use book::{BookError, BookSource, Calendar};
use chrono::NaiveDate;

/// Makes the price file while it is read, so that the memory measured is the reader's.
struct Generated {
    rows: usize,
    by_date: bool,
}

struct Lines {
    dates: Vec<NaiveDate>,
    symbols: usize,
    by_date: bool,
    next: usize,
    rows: usize,
    pending: Vec<u8>,
    given: usize,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.given == self.pending.len() {
            let mut text = String::new();
            let until = (self.next + 4_096).min(self.rows);
            for row in self.next..until {
                let (date, symbol) = if self.by_date {
                    (row / self.symbols, row % self.symbols)
                } else {
                    (row % self.dates.len(), row / self.dates.len())
                };
                let close = 100.0 + ((row * 7_919) % 10_007) as f64 / 100.0;
                writeln!(text, "{},SYM{symbol:05},{close:.4}", self.dates[date]).unwrap();
            }
            self.next = until;
            self.pending = text.into_bytes();
            self.given = 0;
        }
        let count = buffer.len().min(self.pending.len() - self.given);
        buffer[..count].copy_from_slice(&self.pending[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

impl BookSource for Generated {
    fn names(&self) -> Result<Vec<String>, BookError> {
        Ok(["portfolios.csv", "positions.csv", "prices.csv"].map(str::to_owned).to_vec())
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, BookError> {
        Ok(match name {
            "portfolios.csv" => Box::new(&b"portfolio_id,name,equity\np,P,1000\n"[..]),
            "positions.csv" => {
                Box::new(&b"portfolio_id,symbol,quantity,entry_price,entry_date\np,SYM00001,1,1,2020-01-02\n"[..])
            }
            _ => {
                let from = NaiveDate::from_ymd_opt(2015, 1, 2).unwrap();
                let dates = Calendar::Nyse.sessions(from, NaiveDate::from_ymd_opt(2022, 12, 30).unwrap());
                let dates = dates[..2_000].to_vec();
                let symbols = self.rows.div_ceil(dates.len());
                Box::new(Lines {
                    dates,
                    symbols,
                    by_date: self.by_date,
                    next: 0,
                    rows: self.rows,
                    pending: b"date,symbol,close\n".to_vec(),
                    given: 0,
                })
            }
        })
    }
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}

fn main() {
    let mut words = std::env::args().skip(1);
    let rows: usize = words.next().map_or(4_000_000, |word| word.parse().unwrap());
    let by_date = words.next().is_none_or(|word| word == "by-date");
    let generated = Generated { rows, by_date };

    let start = Instant::now();
    let (mut bytes, mut block) = (0, vec![0; 1 << 16]);
    let mut lines = generated.open("prices.csv").unwrap();
    loop {
        match lines.read(&mut block).unwrap() {
            0 => break,
            count => bytes += count,
        }
    }
    let generating = start.elapsed();
    println!("generating alone: {:.2} s, {} MB", generating.as_secs_f64(), bytes / 1_000_000);

    let start = Instant::now();
    let reading = book::read(&generated).unwrap();
    let took = start.elapsed();
    let book = reading.book.as_ref().unwrap();
    assert_eq!((book.prices.len(), reading.errors.len()), (rows, 0));
    let net = took.saturating_sub(generating).as_secs_f64();
    println!(
        "read {rows} rows of {} symbols: {:.2} s, without generating {net:.2} s = {:.1} million rows/s; peak {}",
        book.prices.symbols().len(),
        took.as_secs_f64(),
        rows as f64 / net / 1e6,
        peak()
    );
}
