//! What a program costs the machine it runs on.

use std::time::Duration;

use crate::pair::Pair;

impl Pair {
    /// Resident memory of the program on machine `n`, in MB: (VmRSS, Pss), summed over its processes.
    pub fn memory(&self, n: usize) -> (f64, f64) {
        let sum =
            |file: &str, key: &str| self.pids(n).iter().map(|pid| kilobytes(*pid, file, key)).sum::<f64>() / 1024.0;
        (sum("status", "VmRSS:"), sum("smaps_rollup", "Pss:"))
    }

    /// Processor time that the program on machine `n` has used.
    pub fn processor(&self, n: usize) -> Duration {
        let threads = self.pids(n).into_iter().flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap());
        let spent = |thread: std::io::Result<std::fs::DirEntry>| {
            // Nanoseconds on a processor, nanoseconds waiting, number of times.
            let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(threads.map(spent).sum())
    }
}

fn kilobytes(pid: u32, file: &str, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}
