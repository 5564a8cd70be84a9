//! A folder that is removed, and processes that are ended, whatever becomes of the test.
//!
//! A shared cluster lies in a static, which is never dropped, and a test may panic, be interrupted or be
//! killed. So a shell stands by outside of the test's process group and reads ids from a pipe. When the
//! pipe closes, for whatever reason, it ends these processes and removes the folder. It ends only what
//! carries the folder's name in its arguments: an id that went to somebody else is left alone.

use std::{
    ffi::OsStr,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use crate::process::Server;

/// `$1` is the folder.
const GUARD: &str = r#"
trap '' INT TERM HUP
ids=
while read -r id; do ids="$ids $id"; done
for id in $ids; do
  if grep -qF "$1" "/proc/$id/cmdline" 2>/dev/null; then kill -KILL "$id" 2>/dev/null; fi
done
rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1"; }
"#;

/// A folder with the processes that work in it.
#[derive(Debug)]
pub(crate) struct Ward {
    folder: PathBuf,
    guard: Mutex<Child>,
}

// === impl Ward ===

impl Ward {
    /// Makes an empty folder that only this user can read.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("haldane-cluster-").tempdir();
        let folder = folder.expect("a temporary folder").keep();
        let guard = Command::new("sh")
            .args([OsStr::new("-c"), OsStr::new(GUARD), OsStr::new("guard"), folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh runs");
        Self { folder, guard: Mutex::new(guard) }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program with its output in `NAME.log`; one of its arguments must name the folder.
    pub(crate) fn start(&self, program: &Path, name: &str, arguments: &[String]) -> Server {
        let program = program.to_str().expect("the path is text");
        let folder = self.folder.to_str().expect("the path is text");
        assert!(arguments.iter().any(|word| word.contains(folder)), "{name} could not be known");
        let server = Server::start(program, arguments, &self.log(name));
        let mut guard = self.guard.lock().expect("no holder panics");
        let pipe = guard.stdin.as_mut().expect("it is open until the end");
        writeln!(pipe, "{}", server.id()).expect("the guard reads");
        server
    }

    /// Where the output of a program goes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The last lines that a program wrote.
    pub(crate) fn last_words(&self, name: &str) -> String {
        let text = std::fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        if let Ok(guard) = self.guard.get_mut() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}
