//! A damaged file: redb may panic on one, and neither a panic nor a riddle is an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

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
pub fn advice(path: &std::path::Path) -> String {
    format!(
        "{} is damaged. Keep a copy of it, then bring back the newest backup with `roomd restore FILE`",
        path.display()
    )
}
