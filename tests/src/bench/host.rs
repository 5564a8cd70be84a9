//! The machine and this process, as `/proc` tells them.

use std::{fs, process::Command, time::Duration};

/// The kernel counts time in ticks of this length in `/proc/PID/stat`.
const TICK: Duration = Duration::from_millis(10);

/// Describes the machine, one fact a line.
#[must_use]
pub fn describe() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    vec![
        ("CPU", field("/proc/cpuinfo", "model name")),
        ("cores", cores.to_string()),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", first_line("/proc/sys/kernel/osrelease")),
        ("rustc", told("rustc", &["--version"])),
        ("Prometheus", told("/usr/bin/prometheus", &["--version"])),
        ("HAProxy", told("/usr/sbin/haproxy", &["-v"])),
        ("load average", first_line("/proc/loadavg")),
    ]
}

/// Asks for a little more of the processor than others have. Returns whether that was allowed.
#[must_use]
pub fn hurry() -> bool {
    let id = std::process::id().to_string();
    let asked = Command::new("renice").args(["-n", "-5", "-p", &id]).output();
    asked.is_ok_and(|answer| answer.status.success())
}

/// Returns how much memory of this process is resident, in bytes.
#[must_use]
pub fn resident() -> u64 {
    let told = field("/proc/self/status", "VmRSS");
    let kilobytes = told.split(' ').next().and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

/// Returns how much processor time this process has had, all threads together.
#[must_use]
pub fn processor_time() -> Duration {
    let told = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold spaces; user and system time are 14th and 15th.
    let after = told.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u32>().ok());
    TICK * ticks.sum::<u32>()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value).next();
    found.unwrap_or("unknown").trim().to_owned()
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn told(program: &str, arguments: &[&str]) -> String {
    let answer = Command::new(program).args(arguments).output();
    let text = answer.map(|answer| [answer.stdout, answer.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("unknown").to_owned()
}
