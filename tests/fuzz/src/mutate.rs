//! Changes of inputs: deterministic, and with an eye for what the inputs are made of.

/// Random numbers that are the same for the same seed on every machine (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as this seed says.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub const fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// One of these.
    pub const fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// What stands between two tokens in any of the formats.
const BETWEEN: &[u8] = b",;:=\n\r\t \"'{}[]()<>&|#/.-+_";

/// Texts that readers have tripped over: numbers at their limits, dates that do not exist, quotes, signs of other
/// encodings, and words of the formats in places that are not theirs.
const NASTY: &[&[u8]] = &[
    b"",
    b"0",
    b"-0",
    b"-1",
    b"1e15",
    b"1e16",
    b"-1e15",
    b"1e-300",
    b"1e308",
    b"1e309",
    b"5e-324",
    b"NaN",
    b"nan",
    b"inf",
    b"-inf",
    b"Infinity",
    b"0x10",
    b"1_000",
    b"1,000",
    b"1.",
    b".5",
    b"+7",
    b"2147483648",
    b"4294967296",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"9007199254740993",
    b"2024-02-29",
    b"2023-02-29",
    b"1899-12-31",
    b"1900-01-01",
    b"2199-12-31",
    b"2200-01-01",
    b"0000-00-00",
    b"9999-12-31",
    b"2026-11-26",
    b"2026-11-28",
    b"+262142-12-31T23:59:59Z",
    b"-262143-01-01T00:00:00Z",
    b"2026-11-24T24:00:00Z",
    b"2026-11-24T23:59:60Z",
    b"\"",
    b"\"\"",
    b"\"\"\"",
    b"'",
    b"'''",
    b",",
    b",,",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\x1b[31m",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"\xe2\x80\xa8",
    b"\xf4\x90\x80\x80",
    b"\xcc\x81",
    b"\x1f\x8b\x08\x00",
    b"PK\x03\x04",
    b"\x28\xb5\x2f\xfd",
    b"../../x",
    b"..",
    b".",
    b"<script>",
    b"=1+1",
    b"null",
    b"true",
    b"false",
    b"{}",
    b"[]",
    b"[[",
    b"]]",
    b"{\"a\":",
    b"[[scenarios]]\n",
    b"[run]\n",
    b"[site]\n",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b"public",
    b"option",
    b"private",
    b"cash",
    b"call",
    b"put",
    b"USD",
    b"portfolio_id",
    b"symbol",
    b"quantity",
    b"close",
    b"date",
    b"SPY",
    b"NVDA261218C00800000",
    b"NVDA261218C99999999",
    b"* * * * *",
    b"@hourly",
    b"0 0 30 2 *",
    b"UTC",
    b"America/New_York",
    b"success",
    b"failed",
    b"skipped",
    b"missing",
    b"pending",
    b"running",
    b"7d0a1c2e-5b3f-5a6d-9c1b-2f4e6a8b0c1d",
    b"00000000-0000-0000-0000-000000000000",
    // The heads of lengths in MessagePack: arrays, maps and texts that claim four thousand million members.
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc0",
    b"\xc1",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
];

/// No input grows beyond this, so that an iteration stays short.
const LONGEST: usize = 3 << 19;

/// Changes an input in one to six ways. `others` are inputs to take pieces from.
pub fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    for _ in 0..=dice.below(6) {
        once(input, others, dice);
        input.truncate(LONGEST);
    }
}

#[expect(clippy::too_many_lines, reason = "one table: an arm for each change")]
fn once(input: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    match dice.below(20) {
        0 => {
            let at = dice.below(input.len());
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => {
            let (at, byte) = (dice.below(input.len() + 1), dice.next() as u8);
            input.insert(at, byte);
        }
        2 => {
            let span = span(input, dice, 40);
            input.drain(span);
        }
        3 => {
            // A piece again, once or often.
            let span = span(input, dice, 200);
            let (piece, at) = (input[span.clone()].to_vec(), span.end);
            let times = if dice.below(8) == 0 { 1 + dice.below(300) } else { 1 };
            input.splice(at..at, piece.repeat(times));
        }
        4 => input.truncate(dice.below(input.len() + 1)),
        5 if !others.is_empty() => {
            let other = dice.pick(others);
            let piece = other[span(other, dice, 2_000)].to_vec();
            let at = dice.below(input.len() + 1);
            input.splice(at..at, piece);
        }
        6 | 7 => {
            let (a, b) = (token(input, dice), token(input, dice));
            let (a, b) = if a.start <= b.start { (a, b) } else { (b, a) };
            if a.end <= b.start {
                let (left, right) = (input[a.clone()].to_vec(), input[b.clone()].to_vec());
                input.splice(b, left);
                input.splice(a, right);
            }
        }
        8..=11 => {
            let token = token(input, dice);
            input.splice(token, dice.pick(NASTY).iter().copied());
        }
        12 => {
            let at = dice.below(input.len() + 1);
            input.splice(at..at, dice.pick(NASTY).iter().copied());
        }
        13 => {
            let line = line(input, dice);
            let (copy, at) = (input[line.clone()].to_vec(), line.end);
            input.splice(at..at, copy);
        }
        14 => {
            let line = line(input, dice);
            input.drain(line);
        }
        15 => {
            let (from, at) = (line(input, dice), dice.below(input.len() + 1));
            let copy = input[from].to_vec();
            input.splice(at..at, copy);
        }
        16 => {
            // The line ends of another system.
            let text: Vec<u8> = input.split(|b| *b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
            *input = text;
        }
        17 => {
            let head: &[u8] = dice.pick::<&[u8]>(&[b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"\0"]);
            input.splice(0..0, head.iter().copied());
        }
        18 => {
            // A number at a limit where a number was.
            let token = token(input, dice);
            let digits = input[token.clone()].iter().all(u8::is_ascii_digit);
            if digits && !token.is_empty() {
                let number = dice.next() >> dice.below(64);
                input.splice(token, number.to_string().into_bytes());
            }
        }
        _ => {
            // Now and then a very long field.
            let length = *dice.pick(&[66, 201, 1_001, 4_097, 65_536, 65_537]);
            let fill: &[u8] =
                dice.pick::<&[u8]>(&[b"x", b"9", b"\xc3\xa9", b"\"\"", b"[", b"{\"a\":", b"\xe2\x80\xae"]);
            if length < 5_000 || dice.below(8) == 0 {
                let (token, long) = (token(input, dice), fill.repeat(length / fill.len()));
                input.splice(token, long);
            }
        }
    }
}

/// Some bytes, `longest` at most.
fn span(input: &[u8], dice: &mut Dice, longest: usize) -> std::ops::Range<usize> {
    let from = dice.below(input.len());
    from..(from + dice.below(longest + 1)).min(input.len())
}

/// What stands between two separators, at a random place.
fn token(input: &[u8], dice: &mut Dice) -> std::ops::Range<usize> {
    let at = dice.below(input.len());
    let from = input[..at].iter().rposition(|b| BETWEEN.contains(b)).map_or(0, |before| before + 1);
    let to = input[at..].iter().position(|b| BETWEEN.contains(b)).map_or(input.len(), |after| at + after);
    from..to.max(from)
}

/// A line with its end.
fn line(input: &[u8], dice: &mut Dice) -> std::ops::Range<usize> {
    let at = dice.below(input.len());
    let from = input[..at].iter().rposition(|b| *b == b'\n').map_or(0, |before| before + 1);
    let to = input[at..].iter().position(|b| *b == b'\n').map_or(input.len(), |after| at + after + 1);
    from..to
}
