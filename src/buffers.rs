//! Memory for answers, used again by the thread that used it before.
//!
//! The C library's allocator searches and tidies up for every block beyond a kilobyte: with two of them for each answer,
//! that was a tenth of the time for showing a conversation.

use std::cell::RefCell;

/// Most buffers that a thread keeps: a body, and the whole answer that it is copied into.
const KEPT: usize = 2;
/// Size of a new one, bytes: two conversations fit.
const FIRST: usize = 4 << 10;
/// Larger ones are given back to the system, bytes. Smaller ones than new ones are of no use either.
const LARGEST: usize = 64 << 10;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(FIRST))
}

/// Keeps a buffer that is needed no more for the next answer.
pub fn give_back(mut buffer: Vec<u8>) {
    if !(FIRST..=LARGEST).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_none_is_kept_that_is_large() {
        let grown = FIRST + 1;
        give_back(vec![b'x'; grown]);
        let again = take();
        assert_eq!((again.len(), again.capacity()), (0, grown));
        give_back(Vec::with_capacity(LARGEST + 1));
        assert_eq!(take().capacity(), FIRST);
        (0..5).for_each(|_| give_back(vec![0; grown]));
        assert_eq!((0..5).filter(|_| take().capacity() == grown).count(), KEPT);
    }
}
