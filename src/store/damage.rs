//! A damaged file: redb may panic on one, and neither a panic nor a riddle is an answer.

use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Runs something that reads a file which may be damaged. A panic becomes an error, without a word on standard error:
/// what the caller says is clearer.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    outcome.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("the file is damaged ({})", words.unwrap_or("its structure makes no sense")))
    })
}

/// What to do about a damaged database.
pub fn advice(path: &Path) -> String {
    format!(
        "{} is damaged. Keep a copy of it, then bring back the newest backup with `roomd restore FILE`",
        path.display()
    )
}

/// Beside the database from a good end to the next start: which file, of which size and time, was closed then.
fn marker(path: &Path) -> PathBuf {
    path.with_extension("clean")
}

/// What tells a file from a copy of it, or from itself before a change.
fn identity(path: &Path) -> std::io::Result<String> {
    let file = std::fs::metadata(path)?;
    Ok(format!("{} {} {}.{}", file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

/// Notes that the database was closed in good order, so that the next start need not verify every page: that takes
/// seconds where there are a million conversations.
pub fn note_good_end(path: &Path) {
    // Without the note the next start is slower, that is all.
    let _ = identity(path).and_then(|identity| std::fs::write(marker(path), identity));
}

/// Whether the file is as it was left at a good end. True once: whatever happens from now on takes a new note.
pub fn ended_well(path: &Path) -> bool {
    let noted = std::fs::read_to_string(marker(path));
    // Nothing to remove after a kill, or the first time.
    let _ = std::fs::remove_file(marker(path));
    matches!((noted, identity(path)), (Ok(noted), Ok(now)) if noted == now)
}
