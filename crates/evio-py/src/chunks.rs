//! A cache of the memory in which CPython keeps the Python frames of a greenlet.
//!
//! From 3.11 on, a greenlet that runs Python code takes a chunk of 16 KiB from the interpreter's
//! arena allocator and gives it back at its end: a system call each way, and a page fault for the
//! first frame. Chunks that come back here are handed out again.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use pyo3::ffi::{PyObject_GetArenaAllocator, PyObject_SetArenaAllocator, PyObjectArenaAllocator};
use pyo3::prelude::*;

/// What CPython asks for; other sizes are none of our business.
const CHUNK: usize = 16 * 1024;

/// Chunks that are kept where green threads come and go: 1 MiB at most.
const KEPT: usize = 64;

/// Chunks that are kept for the greenlets on which loops run.
const KEPT_FOR_LOOPS: usize = 4;

struct Cache {
    locked: AtomicBool,
    /// How many chunks may be kept.
    room: AtomicUsize,
    /// The allocator behind ours, which was there before and stays.
    original: UnsafeCell<PyObjectArenaAllocator>,
    contents: UnsafeCell<Contents>,
}

struct Contents {
    chunks: [*mut c_void; KEPT],
    count: usize,
}

// SAFETY: `contents` is opened by `Cache::open` only, by one thread at a time; `original` is written
// once, before any thread is sent here, and only read ever after.
unsafe impl Sync for Cache {}

static CACHE: Cache = Cache {
    locked: AtomicBool::new(false),
    room: AtomicUsize::new(0),
    original: UnsafeCell::new(PyObjectArenaAllocator {
        ctx: ptr::null_mut(),
        alloc: None,
        free: None,
    }),
    contents: UnsafeCell::new(Contents {
        chunks: [ptr::null_mut(); KEPT],
        count: 0,
    }),
};

impl Cache {
    /// Opens the contents, unless another thread is inside: an interpreter that ends frees without
    /// its lock.
    ///
    /// A child that was forked at such a moment never gets in, and goes without the cache.
    fn open<R>(&self, inspect: impl FnOnce(&mut Contents) -> R) -> Option<R> {
        if self.locked.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: the lock is held, and `inspect` does not come back here.
        let result = inspect(unsafe { &mut *self.contents.get() });
        self.locked.store(false, Ordering::Release);
        Some(result)
    }

    fn original(&self) -> PyObjectArenaAllocator {
        // SAFETY: written once, before ours was installed, and only read ever after.
        unsafe { *self.original.get() }
    }

    fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<*mut c_void> {
        self.open(|contents| {
            contents.count = contents.count.checked_sub(1)?;
            Some(contents.chunks[contents.count])
        })
        .flatten()
    }
}

extern "C" fn allocate(_: *mut c_void, size: usize) -> *mut c_void {
    if size == CHUNK && CACHE.room() > 0 {
        if let Some(chunk) = CACHE.take() {
            return chunk;
        }
    }
    let original = CACHE.original();
    original
        .alloc
        .map_or(ptr::null_mut(), |allocate| allocate(original.ctx, size))
}

extern "C" fn free(_: *mut c_void, memory: *mut c_void, size: usize) {
    let room = CACHE.room();
    if size == CHUNK && room > 0 {
        let kept = CACHE.open(|contents| {
            let room = contents.count < room.min(KEPT);
            if room {
                contents.chunks[contents.count] = memory;
                contents.count += 1;
            }
            room
        });
        if kept == Some(true) {
            return;
        }
    }
    let original = CACHE.original();
    if let Some(free) = original.free {
        free(original.ctx, memory, size);
    }
}

/// Keeps chunks for the next greenlets, or gives back those that were kept; 3.10 has none.
#[pyfunction]
pub(crate) fn cache_stack_chunks(_py: Python<'_>, enabled: bool) {
    keep(if enabled { KEPT } else { 0 });
    if !enabled {
        while let Some(chunk) = CACHE.take() {
            free(ptr::null_mut(), chunk, CHUNK);
        }
    }
}

/// Keeps a few chunks for the next loops, where none are kept and the environment has nothing against it.
pub(crate) fn keep_for_loops(_py: Python<'_>) {
    static WANTED: OnceLock<bool> = OnceLock::new();
    let is_wanted = || std::env::var_os("EVENTLET_ASYNCIO_STACK_CACHE").is_none_or(|it| it != "0");
    if CACHE.room() == 0 && *WANTED.get_or_init(is_wanted) {
        keep(KEPT_FOR_LOOPS);
    }
}

fn keep(room: usize) {
    static INSTALLED: Once = Once::new();
    if cfg!(not(Py_3_11)) {
        return;
    }
    INSTALLED.call_once(|| {
        let mut ours = PyObjectArenaAllocator {
            ctx: ptr::null_mut(),
            alloc: Some(allocate),
            free: Some(free),
        };
        // SAFETY: our callers are attached; nobody calls `allocate` or `free` before the second call, which
        // copies.
        unsafe {
            PyObject_GetArenaAllocator(CACHE.original.get());
            PyObject_SetArenaAllocator(&raw mut ours);
        }
    });
    CACHE.room.store(room, Ordering::Relaxed);
}
