//! A token bucket per client, as the generic cell rate algorithm: one number a client, exact at any rate.
//!
//! A bucket is remembered as the moment at which it will be full again (the *theoretical arrival time*). A request
//! for n cells moves that moment by n intervals, unless it would then lie more than a burst in the future.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::Duration,
};

use hashbrown::HashMap;
use parking_lot::Mutex;

/// What one client may do: `per_second` on average, and `burst` at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// `None`, which is no limit, when `per_second` is 0. A burst is at least 1.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Option<Rate> {
        (per_second > 0).then_some(Rate { per_second, burst: burst.max(1) })
    }

    /// Requests (or entries) per second.
    #[must_use]
    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Requests (or entries) at once.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// The time that `cells` of them take, in nanoseconds.
    fn nanos(&self, cells: u32) -> u64 {
        u64::from(cells) * 1_000_000_000 / u64::from(self.per_second)
    }
}

/// Who shares a bucket: an IPv4 address, or an IPv6 /64, which is what one customer usually has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address.
    V6([u8; 8]),
    /// Everyone for whom there was no bucket left.
    Crowd,
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Client {
        match address.to_canonical() {
            IpAddr::V4(address) => Client::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Client::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Why a client has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// The request fits after this time, if the client does nothing else meanwhile.
    After(Duration),
    /// It asks for more at once than the burst, so it never fits.
    Never,
}

const SHARDS: usize = 16;

/// The buckets of all clients.
///
/// Time is given by the caller, as the time since some fixed moment.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    buckets_per_shard: usize,
    hasher: RandomState,
    /// When each client's bucket is full again, in nanoseconds; full ones need not be remembered.
    shards: [Mutex<HashMap<Client, u64>>; SHARDS],
}

impl Limiter {
    /// Remembers at most about `buckets` clients.
    #[must_use]
    pub fn new(rate: Rate, buckets: usize) -> Limiter {
        let buckets_per_shard = (buckets / SHARDS).max(1);
        Limiter { rate, buckets_per_shard, hasher: RandomState::new(), shards: Default::default() }
    }

    /// Takes `cells` from the bucket of `client`, or nothing at all. `now` is the time since some fixed moment.
    ///
    /// # Errors
    ///
    /// [`Limited`]: when to come back, if ever.
    pub fn take(&self, client: Client, cells: u32, now: Duration) -> Result<(), Limited> {
        if cells > self.rate.burst {
            return Err(Limited::Never);
        }
        let now = nanos(now);
        let mut shard = self.shard(client).lock();
        let mut key = client;
        if !shard.contains_key(&client) && shard.len() >= self.buckets_per_shard {
            shard.retain(|_, full_at| *full_at > now);
            if shard.len() >= self.buckets_per_shard {
                key = Client::Crowd;
            }
        }
        let full_at = shard.get(&key).copied().unwrap_or(0).max(now) + self.rate.nanos(cells);
        let latest = now + self.rate.nanos(self.rate.burst);
        if full_at > latest {
            return Err(Limited::After(Duration::from_nanos(full_at - latest)));
        }
        shard.insert(key, full_at);
        Ok(())
    }

    /// Forgets every client whose bucket is full.
    pub fn forget_idle(&self, now: Duration) {
        let now = nanos(now);
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.retain(|_, full_at| *full_at > now);
            if shard.capacity() > 4 * shard.len().max(64) {
                shard.shrink_to_fit();
            }
        }
    }

    /// How many clients are remembered.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// The most that a client may take at once.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.rate.burst
    }

    fn shard(&self, client: Client) -> &Mutex<HashMap<Client, u64>> {
        // `SHARDS` is a power of two well below 2^32, so the remainder is always a position.
        let position = usize::try_from(self.hasher.hash_one(client) % SHARDS as u64).unwrap_or(0);
        &self.shards[position]
    }
}

/// 584 years fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn client(last: u8) -> Client {
        Client::from(IpAddr::from([192, 0, 2, last]))
    }

    fn limiter(per_second: u32, burst: u32) -> Limiter {
        Limiter::new(Rate::new(per_second, burst).unwrap(), 1024)
    }

    #[test]
    fn zero_per_second_is_no_limit() {
        assert_eq!(Rate::new(0, 200), None);
    }

    /// n per second means n per second: over ten seconds of asking every millisecond, burst + 10 n are let through.
    #[test]
    fn the_average_is_exact() {
        for (per_second, burst) in [(1, 1), (3, 5), (7, 1), (100, 200), (999, 1000)] {
            let limiter = limiter(per_second, burst);
            let passed = (0..10_000)
                .map(Duration::from_millis)
                .flat_map(|now| [now; 4])
                .filter(|now| limiter.take(client(1), 1, SECOND + *now).is_ok())
                .count();
            let expected = burst + per_second * 10;
            // The last millisecond has not passed, so the last cell may be missing; never one too many.
            assert!(
                (expected - 1..=expected).contains(&u32::try_from(passed).unwrap()),
                "{per_second}/s: {passed} of {expected}"
            );
        }
    }

    #[test]
    fn retry_after_is_when_it_fits() {
        let limiter = limiter(10, 5);
        assert_eq!(limiter.take(client(1), 5, SECOND), Ok(()));
        let Err(Limited::After(wait)) = limiter.take(client(1), 3, SECOND) else { panic!("not limited") };
        assert_eq!(wait, Duration::from_millis(300));
        let almost = SECOND + wait - Duration::from_nanos(1);
        assert!(limiter.take(client(1), 3, almost).is_err(), "a nanosecond too early");
        assert_eq!(limiter.take(client(1), 3, SECOND + wait), Ok(()));
    }

    #[test]
    fn more_than_a_burst_never_fits_and_costs_nothing() {
        let limiter = limiter(10, 5);
        assert_eq!(limiter.take(client(1), 6, SECOND), Err(Limited::Never));
        assert_eq!(limiter.take(client(1), 5, SECOND), Ok(()));
    }

    #[test]
    fn clients_do_not_share_unless_they_are_one_ipv6_network() {
        let limiter = limiter(1, 1);
        let v6 = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(limiter.take(client(1), 1, SECOND), Ok(()));
        assert_eq!(limiter.take(client(2), 1, SECOND), Ok(()));
        assert!(limiter.take(v6("::ffff:192.0.2.1"), 1, SECOND).is_err(), "the same address, mapped");
        assert_eq!(limiter.take(v6("2001:db8:0:1::1"), 1, SECOND), Ok(()));
        assert!(limiter.take(v6("2001:db8:0:1:ffff::2"), 1, SECOND).is_err(), "the same /64");
        assert_eq!(limiter.take(v6("2001:db8:0:2::1"), 1, SECOND), Ok(()));
    }

    #[test]
    fn idle_buckets_are_forgotten_and_busy_ones_kept() {
        let limiter = limiter(1, 10);
        limiter.take(client(1), 1, SECOND).unwrap();
        limiter.take(client(2), 10, SECOND).unwrap();
        limiter.forget_idle(2 * SECOND);
        assert_eq!(limiter.buckets(), 1);
        assert!(limiter.take(client(2), 10, 2 * SECOND).is_err(), "its debt was forgotten");
    }

    #[test]
    fn a_flood_of_addresses_shares_what_is_left() {
        let limiter = Limiter::new(Rate::new(1, 1).unwrap(), 64);
        let passed = (0..u16::MAX)
            .map(|n| Client::V6([0x20, 1, 0xd, 0xb8, 0, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]))
            .filter(|client| limiter.take(*client, 1, SECOND).is_ok())
            .count();
        assert!(passed <= 64 + SHARDS, "{passed} passed");
        assert!(limiter.buckets() <= 64 + SHARDS, "{} remembered", limiter.buckets());
    }
}
