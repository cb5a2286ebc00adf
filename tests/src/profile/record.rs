//! The lines `profile: ...` of a host's log.

use crate::profile::kind::Kind;
use std::str::FromStr;

const START: &str = "profile: ";

/// Exits of one kind at one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Why, and what became of it.
    pub kind: Kind,
    /// The guest's ring.
    pub ring: u8,
    /// Where the guest was left; `None` when the host had no room left to tell places apart.
    pub eip: Option<u32>,
    /// The page of a fault.
    pub page: Option<u32>,
    /// How many.
    pub exits: u64,
    /// Instructions from exit to entry.
    pub host: u64,
    /// Those of the guest before it was left.
    pub guest: u64,
}

/// A guest's life, from its first instruction to its last exit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Instructions in all, and the time that passed while the host slept.
    pub total: u64,
    /// That time.
    pub asleep: u64,
    /// Instructions that making the profile took.
    pub itself: u64,
    /// The others.
    pub rows: Vec<Row>,
}

/// The words `key=value` of a line.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn find(&self, key: &str) -> Option<&'a str> {
        let mut words = self.0.split_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number<N: FromStr>(&self, key: &str) -> Result<N, String> {
        let number = self.find(key).and_then(|value| value.parse().ok());
        number.ok_or_else(|| format!("no {key} in this line of a profile: {}", self.0))
    }

    fn address(&self, key: &str) -> Option<u32> {
        u32::from_str_radix(self.find(key)?.strip_prefix("0x")?, 16).ok()
    }

    fn row(&self) -> Result<Row, String> {
        let kind = (self.find("kind"))
            .zip(self.find("handling"))
            .and_then(|(kind, handling)| Kind::of(kind, handling));
        Ok(Row {
            kind: kind.ok_or_else(|| format!("no kind in this line of a profile: {}", self.0))?,
            ring: self.number("ring")?,
            eip: self.address("eip"),
            page: self.address("page"),
            exits: self.number("exits")?,
            host: self.number("host")?,
            guest: self.number("guest")?,
        })
    }
}

impl Profile {
    /// The profile in a log, whatever else is there.
    ///
    /// # Errors
    /// When there is none, because the guest did not come to its end, or a line of it is not whole.
    pub fn parse<'a>(log: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut lines = log
            .into_iter()
            .filter_map(|line| Some(Words(line.split_once(START)?.1)));
        let totals = lines.next().ok_or("there is no profile in the log")?;
        Ok(Self {
            total: totals.number("total")?,
            asleep: totals.number("asleep")?,
            itself: totals.number("itself")?,
            rows: lines.map(|line| line.row()).collect::<Result<_, _>>()?,
        })
    }

    /// Instructions of the host in exits.
    pub fn host(&self) -> u64 {
        self.rows.iter().map(|row| row.host).sum()
    }

    /// Instructions of the guest.
    pub fn guest(&self) -> u64 {
        self.rows.iter().map(|row| row.guest).sum()
    }

    /// The sum of everything, which is the total.
    pub fn accounted_for(&self) -> u64 {
        self.host() + self.guest() + self.asleep + self.itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: &str = "[0.1 info libhv] profile: total=100 asleep=30 itself=7";

    #[test]
    fn a_log_is_read_as_the_host_writes_it() {
        let log = [
            "libhv: version 0.1.0",
            TOTALS,
            "profile: kind=call:SetPte handling=served ring=1 eip=0x1000 exits=2 host=40 guest=3",
            "profile: kind=trap:14 handling=reflected ring=3 eip=0xc0001000 page=0xfffff000 exits=1 host=20 guest=0",
            "profile: kind=interrupt handling=served ring=3 exits=1 host=0 guest=0",
            "libhv: stop: guest powered off",
        ];
        let profile = Profile::parse(log).unwrap();
        let places: Vec<_> = (profile.rows.iter())
            .map(|row| (row.ring, row.eip, row.page))
            .collect();
        let expected = [
            (1, Some(0x1000), None),
            (3, Some(0xc000_1000), Some(0xffff_f000)),
            (3, None, None),
        ];
        assert_eq!(places, expected);
        assert_eq!((profile.host(), profile.guest()), (60, 3));
        assert_eq!(profile.accounted_for(), profile.total);
    }

    #[test]
    fn a_log_without_a_whole_profile_is_refused() {
        for (log, reason) in [
            (vec!["libhv: stop: x"], "there is no profile in the log"),
            (
                vec!["profile: total=1 asleep=2"],
                "no itself in this line of a profile: total=1 asleep=2",
            ),
            (
                vec![TOTALS, "profile: ring=1"],
                "no kind in this line of a profile: ring=1",
            ),
        ] {
            assert_eq!(Profile::parse(log), Err(reason.into()));
        }
    }
}
