//! How much is left of the stack of the running thread.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

/// As much of a stack as may be used where nothing else bounds it, in bytes; of a small one, half.
const MOST: usize = 4 << 20;

thread_local! {
    static LOWEST: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Whether there is room for calls that nest as deep as the program's data do.
pub(crate) fn has_room() -> bool {
    let here = 0_u8;
    let lowest = LOWEST.get().unwrap_or_else(|| {
        let lowest = lowest().unwrap_or(usize::MAX);
        LOWEST.set(Some(lowest));
        lowest
    });
    (&raw const here).addr() > lowest
}

/// Down to which address there is.
fn lowest() -> Option<usize> {
    let mut attributes = MaybeUninit::uninit();
    let (mut address, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the attributes are initialised by the first call, and used only where that has succeeded.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let failed = libc::pthread_attr_getstack(attributes.as_ptr(), &mut address, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (failed == 0).then(|| address.addr() + size - MOST.min(size / 2))
    }
}
