//! Whether a green block is welcome: asked before each, once the program has said that some are not.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use crate::cell::GilCell;
use crate::step;

static ASKED: AtomicBool = AtomicBool::new(false);
static CHECK: GilCell<Option<Py<PyAny>>> = GilCell::new(None);

/// Has a function called before each green block, or none: with whom blocks, and whether that is in
/// a task or callback. What it raises is raised instead of the block.
#[pyfunction]
pub(crate) fn set_block_check(py: Python<'_>, check: Option<Py<PyAny>>) {
    ASKED.store(check.is_some(), Ordering::Relaxed);
    let old = CHECK.replace(py, check);
    drop(old);
}

/// Whether green blocks are checked.
pub(crate) fn is_set() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Raises what stands against a green block of the running greenlet.
pub(crate) fn check(current: &Bound<'_, PyAny>) -> PyResult<()> {
    if !is_set() {
        return Ok(());
    }
    let py = current.py();
    let Some(check) = CHECK.get(py) else {
        return Ok(());
    };
    let owner = step::owner(py)?;
    let in_step = !owner.is(current);
    check.bind(py).call1((owner, in_step)).map(drop)
}
