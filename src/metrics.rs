//! Counters, and their Prometheus text.
//!
//! | name | labels | what it counts |
//! |---|---|---|
//! | `roomd_requests_total` | `method`, `route`, `status` (`2xx` …), `lane` (`fast`, `slow`, `poll`) | answers; `route="other"` is every unknown path |
//! | `roomd_request_duration_seconds` | `lane`, `le` | histogram: from the request's arrival to its answer; `poll` are requests that waited for news |
//! | `roomd_requests_in_flight` | | requests that have not been answered yet, parked ones included |
//! | `roomd_polls_parked` | | requests that wait for news |
//! | `roomd_nextcloud_requests_total` | `outcome` | `answered` (any status but the following), `failed` (5xx), `throttled` (429), `redirected`, `slow`, `unreachable`, `untrusted`, `nonsense` |
//! | `roomd_nextcloud_last_answer_timestamp_seconds` | | when Nextcloud last answered, Unix seconds; 0 for never |
//! | `roomd_logins_total` | `outcome` | `known` (from memory), `asked` (Nextcloud was asked), `joined` (waited for somebody else's question), `refused` (Nextcloud is down or the queue is full) |
//! | `roomd_commits_total`, `roomd_changes_total` | | commits to the database, and the changes in them |
//! | `roomd_store_errors_total` | | commits that failed |
//! | `roomd_slow_lane_refusals_total` | | requests answered with 503 because the queue for Nextcloud or for passwords was full |
//! | `roomd_refused_bodies_total` | | requests whose body was too long |
//! | `roomd_accept_restarts_total` | | how often accepting connections had to begin anew, for instance for want of descriptors |
//! | `roomd_build_info` | `version` | always 1 |
//! | `process_resident_memory_bytes`, `process_open_fds`, `process_threads`, `process_start_time_seconds` | | the process, from `/proc/self` |

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most routes that are counted apart.
pub const MAX_ROUTES: usize = 128;
/// The number of whatever is no route.
pub const OTHER: usize = MAX_ROUTES;
/// Upper bounds of the histogram's buckets, microseconds and as they are written.
const BUCKETS: [(u64, &str); 14] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];
const LANES: [&str; 3] = ["fast", "slow", "poll"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A number that only grows, or is set.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// One more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// One less, for what can shrink.
    pub fn subtract(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    /// This value from now on.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a request was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// From the store alone.
    Fast = 0,
    /// With a question to Nextcloud or a hash.
    Slow = 1,
    /// After waiting for news.
    Poll = 2,
}

/// What came of a question to Nextcloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Any answer but these.
    Answered = 0,
    /// 5xx
    Failed = 1,
    /// 429
    Throttled = 2,
    /// A redirect.
    Redirected = 3,
    /// Not in time.
    Slow = 4,
    /// No connection, or it broke.
    Unreachable = 5,
    /// The certificate was not accepted.
    Untrusted = 6,
    /// Too long, or no HTTP.
    Nonsense = 7,
}

const OUTCOMES: [&str; 8] =
    ["answered", "failed", "throttled", "redirected", "slow", "unreachable", "untrusted", "nonsense"];

/// How a caller's credentials were judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginOutcome {
    /// From memory.
    Known = 0,
    /// By asking.
    Asked = 1,
    /// With somebody else's question.
    Joined = 2,
    /// Not at all.
    Refused = 3,
}

const LOGIN_OUTCOMES: [&str; 4] = ["known", "asked", "joined", "refused"];

/// All counters of the process.
pub struct Metrics {
    requests: [[[Counter; LANES.len()]; CLASSES.len()]; MAX_ROUTES + 1],
    durations: [Histogram; LANES.len()],
    nextcloud: [Counter; OUTCOMES.len()],
    logins: [Counter; LOGIN_OUTCOMES.len()],
    /// Requests that have not been answered yet.
    pub in_flight: Counter,
    /// When Nextcloud last answered, Unix seconds; 0 for never.
    pub nextcloud_seen: Counter,
    /// Commits that succeeded.
    pub commits: Counter,
    /// Changes in them.
    pub changes: Counter,
    /// Commits that failed.
    pub store_errors: Counter,
    /// Requests for which the slow lane had no room.
    pub slow_lane_refusals: Counter,
    /// Requests whose body was too long.
    pub refused_bodies: Counter,
    /// How often accepting connections began anew.
    pub accept_restarts: Counter,
}

struct Histogram {
    buckets: [Counter; BUCKETS.len()],
    count: Counter,
    sum_micros: Counter,
}

/// The process's counters.
pub static METRICS: Metrics = Metrics {
    requests: [const { [const { [const { Counter::new() }; LANES.len()] }; CLASSES.len()] }; MAX_ROUTES + 1],
    durations: [const {
        Histogram {
            buckets: [const { Counter::new() }; BUCKETS.len()],
            count: Counter::new(),
            sum_micros: Counter::new(),
        }
    }; LANES.len()],
    nextcloud: [const { Counter::new() }; OUTCOMES.len()],
    logins: [const { Counter::new() }; LOGIN_OUTCOMES.len()],
    in_flight: Counter::new(),
    nextcloud_seen: Counter::new(),
    commits: Counter::new(),
    changes: Counter::new(),
    store_errors: Counter::new(),
    slow_lane_refusals: Counter::new(),
    refused_bodies: Counter::new(),
    accept_restarts: Counter::new(),
};

impl Metrics {
    /// Counts an answer. `route` is its number in the route table, or [`OTHER`].
    pub fn answered(&self, route: usize, status: u16, lane: Lane, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[route.min(OTHER)][class][lane as usize].add(1);
        let micros = took.as_micros() as u64;
        let histogram = &self.durations[lane as usize];
        if let Some(bucket) = BUCKETS.iter().position(|(bound, _)| micros <= *bound) {
            histogram.buckets[bucket].add(1);
        }
        histogram.count.add(1);
        histogram.sum_micros.add(micros);
    }

    /// Counts a question to Nextcloud. `now` is the time, Unix seconds.
    pub fn asked_nextcloud(&self, outcome: Outcome, now: i64) {
        self.nextcloud[outcome as usize].add(1);
        if outcome == Outcome::Answered {
            self.nextcloud_seen.set(now.max(0) as u64);
        }
    }

    /// Counts how credentials were judged.
    pub fn judged_login(&self, outcome: LoginOutcome) {
        self.logins[outcome as usize].add(1);
    }

    /// Everything as Prometheus reads it. `routes` are method and path by number; `parked` are the waiting polls.
    pub fn text(&self, routes: &[(&str, &str)], parked: usize) -> String {
        let mut out = String::with_capacity(16 << 10);
        describe(&mut out, "roomd_requests_total", "counter", "Answers by route, status and lane.");
        let other = [("", "other")];
        let numbers = (0..routes.len().min(MAX_ROUTES)).chain([OTHER]);
        for (number, (method, path)) in numbers.zip(routes.iter().chain(&other)) {
            for (class, by_lane) in CLASSES.iter().zip(&self.requests[number]) {
                for (lane, count) in LANES.iter().zip(by_lane).filter(|(_, count)| count.get() > 0) {
                    let value = count.get();
                    line(
                        &mut out,
                        format_args!(
                            "roomd_requests_total{{method=\"{method}\",route=\"{path}\",status=\"{class}\",lane=\"{lane}\"}} {value}"
                        ),
                    );
                }
            }
        }
        describe(&mut out, "roomd_request_duration_seconds", "histogram", "From a request's arrival to its answer.");
        for (lane, histogram) in LANES.iter().zip(&self.durations) {
            histogram.write(&mut out, lane);
        }
        self.write_plain(&mut out, parked);
        labelled(&mut out, "roomd_nextcloud_requests_total", "Questions to Nextcloud.", &OUTCOMES, &self.nextcloud);
        labelled(
            &mut out,
            "roomd_logins_total",
            "How callers' credentials were judged.",
            &LOGIN_OUTCOMES,
            &self.logins,
        );
        describe(&mut out, "roomd_build_info", "gauge", "The version that runs.");
        line(&mut out, format_args!("roomd_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")));
        write_process(&mut out);
        out
    }

    fn write_plain(&self, out: &mut String, parked: usize) {
        plain(out, "roomd_requests_in_flight", "gauge", "Requests not answered yet.", self.in_flight.get());
        plain(out, "roomd_polls_parked", "gauge", "Requests that wait for news.", parked as u64);
        let seen = self.nextcloud_seen.get();
        let name = "roomd_nextcloud_last_answer_timestamp_seconds";
        plain(out, name, "gauge", "When Nextcloud last answered.", seen);
        for (name, help, counter) in [
            ("roomd_commits_total", "Commits to the database.", &self.commits),
            ("roomd_changes_total", "Changes in those commits.", &self.changes),
            ("roomd_store_errors_total", "Commits that failed.", &self.store_errors),
            ("roomd_slow_lane_refusals_total", "Requests for which the slow lane was full.", &self.slow_lane_refusals),
            ("roomd_refused_bodies_total", "Requests whose body was too long.", &self.refused_bodies),
            ("roomd_accept_restarts_total", "How often accepting began anew.", &self.accept_restarts),
        ] {
            plain(out, name, "counter", help, counter.get());
        }
    }
}

impl Histogram {
    fn write(&self, out: &mut String, lane: &str) {
        let name = "roomd_request_duration_seconds";
        let mut below = 0;
        for ((_, bound), count) in BUCKETS.iter().zip(&self.buckets) {
            below += count.get();
            line(out, format_args!("{name}_bucket{{lane=\"{lane}\",le=\"{bound}\"}} {below}"));
        }
        // Read last: it is never smaller than what the buckets said.
        let count = self.count.get().max(below);
        line(out, format_args!("{name}_bucket{{lane=\"{lane}\",le=\"+Inf\"}} {count}"));
        let sum = self.sum_micros.get() as f64 / 1e6;
        line(out, format_args!("{name}_sum{{lane=\"{lane}\"}} {sum}"));
        line(out, format_args!("{name}_count{{lane=\"{lane}\"}} {count}"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}

fn describe(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn plain(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    describe(out, name, kind, help);
    line(out, format_args!("{name} {value}"));
}

fn labelled(out: &mut String, name: &str, help: &str, labels: &[&str], counters: &[Counter]) {
    describe(out, name, "counter", help);
    for (label, counter) in labels.iter().zip(counters) {
        line(out, format_args!("{name}{{outcome=\"{label}\"}} {}", counter.get()));
    }
}

/// What the kernel knows of the process. What cannot be read is left out.
fn write_process(out: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    if let Some(kib) = field("VmRSS:") {
        plain(out, "process_resident_memory_bytes", "gauge", "Resident memory.", kib * 1024);
    }
    if let Some(threads) = field("Threads:") {
        plain(out, "process_threads", "gauge", "Threads.", threads);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        plain(out, "process_open_fds", "gauge", "Open file descriptors.", descriptors.count() as u64);
    }
    if let Some(start) = start_time() {
        plain(out, "process_start_time_seconds", "gauge", "When the process was started, Unix seconds.", start);
    }
}

/// When the process was started, Unix seconds.
fn start_time() -> Option<u64> {
    /// Linux counts in these for every program, whatever the kernel's own clock.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold blanks; after it come the state and 18 numbers, then the start.
    let ticks: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_in_the_text() {
        METRICS.answered(1, 204, Lane::Slow, Duration::from_millis(3));
        METRICS.answered(OTHER, 404, Lane::Fast, Duration::from_secs(20));
        let text = METRICS.text(&[("GET", "/a"), ("PUT", "/b")], 7);
        for wanted in [
            "roomd_requests_total{method=\"PUT\",route=\"/b\",status=\"2xx\",lane=\"slow\"} 1",
            "roomd_requests_total{method=\"\",route=\"other\",status=\"4xx\",lane=\"fast\"} 1",
            "roomd_request_duration_seconds_bucket{lane=\"slow\",le=\"0.0025\"} 0",
            "roomd_request_duration_seconds_bucket{lane=\"slow\",le=\"0.005\"} 1",
            "roomd_request_duration_seconds_bucket{lane=\"fast\",le=\"10\"} 0",
            "roomd_request_duration_seconds_bucket{lane=\"fast\",le=\"+Inf\"} 1",
            "roomd_polls_parked 7",
        ] {
            assert!(text.lines().any(|line| line == wanted), "{wanted} is missing in\n{text}");
        }
        assert!(text.contains("process_start_time_seconds 1"), "{text}");
    }
}
