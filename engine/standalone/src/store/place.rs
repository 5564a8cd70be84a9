//! Where an engine keeps its state when nobody says.

use std::{env, fs, os::unix::fs::MetadataExt, path::PathBuf};

/// Returns `/var/lib/haldane` for root, else `$XDG_STATE_HOME/haldane` or
/// `~/.local/state/haldane`; `None` where there is no home either.
#[must_use]
pub fn default_state_dir() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    state_dir(is_root(), absolute("XDG_STATE_HOME"), absolute("HOME"))
}

fn state_dir(root: bool, state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/var/lib/haldane"));
    }
    state.or_else(|| Some(home?.join(".local/state"))).map(|base| base.join("haldane"))
}

/// The owner of our own entry in /proc is our effective user.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_keeps_state_in_var_and_others_at_home() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(state_dir(true, path("/s"), path("/h")), path("/var/lib/haldane"));
        assert_eq!(state_dir(false, path("/s"), path("/h")), path("/s/haldane"));
        assert_eq!(state_dir(false, None, path("/h")), path("/h/.local/state/haldane"));
        assert_eq!(state_dir(false, None, None), None);
    }
}
