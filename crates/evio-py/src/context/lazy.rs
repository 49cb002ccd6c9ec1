//! Contexts that are made when somebody needs them.
//!
//! To schedule a callback copies the context of the running code, which is an object that the garbage
//! collector counts and that most often ends with the callback. What it holds is an object that never
//! changes, its *variables*, to which a reference does as well. CPython has no function for
//! them, and where it keeps them is private. So their place is looked for, once.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::cell::{GilCell, Once};
use crate::layout;

type Object = *mut ffi::PyObject;

struct Places {
    /// Of the entered context, in words from the beginning of a thread's state.
    entered: usize,
    /// Of what says whether a context is entered, in words from the beginning of a context.
    is_entered: usize,
    /// Likewise, of its variables.
    variables: usize,
    /// The variables of a context without any.
    none: Py<PyAny>,
}

/// A context that was of one callback and that nobody else knows, without variables.
static SPARE: GilCell<Option<Py<PyAny>>> = GilCell::new(None);

static PLACES: Once<Option<Places>> = Once::new();

/// Looks for the places, without which contexts are copied.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    PLACES.get_or_try_init(py, || find(py)).map(drop)
}

#[inline]
fn places(py: Python<'_>) -> Option<&'static Places> {
    PLACES.get(py)?.as_ref()
}

fn find(py: Python<'_>) -> PyResult<Option<Places>> {
    let (context, other) = (empty(py)?, empty(py)?);
    // It was never entered and has no weak references: all else is 0, but for what follows a number of
    // 32 bits in its word, which CPython does not set.
    let Some(variables) = layout::only(layout::fields(&context), |place| {
        layout::word(&context, place) as u32 != 0
    }) else {
        return Ok(None);
    };
    // SAFETY: the word is no number, as those of a new context are 0.
    let none = unsafe { Bound::from_borrowed_ptr(py, layout::word(&context, variables) as Object) };
    if none.get_type().name()? != "hamt" {
        return Ok(None);
    }
    let wanted = |context: &Bound<'_, PyAny>| {
        if !super::enter(context)? {
            return Ok(None);
        }
        let entered = layout::place_in_thread(py, [context]);
        let is_entered = layout::only(layout::fields(context), |place| {
            layout::word(context, place) as u32 == 1
        });
        super::exit(context)?;
        Ok::<_, PyErr>(entered.zip(is_entered))
    };
    let places = wanted(&context)?;
    if places != wanted(&other)? {
        return Ok(None);
    }
    Ok(places.map(|(entered, is_entered)| Places {
        entered,
        is_entered,
        variables,
        none: none.unbind(),
    }))
}

/// A context without variables.
fn empty(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached; null comes with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_New()) }
}

/// The variables of the running code; `None` where only a copy of its context has them.
#[inline]
pub(crate) fn variables(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let places = places(py)?;
    // SAFETY: the thread's state has a context or null in that word, and a context has its variables in
    // the other, never null.
    unsafe {
        let state = ffi::PyThreadState_Get().cast::<Object>();
        let entered = *state.add(places.entered);
        Some(if entered.is_null() {
            places.none.bind(py).clone()
        } else {
            Bound::from_borrowed_ptr(py, *entered.cast::<Object>().add(places.variables))
        })
    }
}

/// The context that the running code has entered, where that is known.
#[inline]
pub(crate) fn entered(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let places = places(py)?;
    // SAFETY: the thread's state has a context or null in that word.
    unsafe {
        let state = ffi::PyThreadState_Get().cast::<Object>();
        Bound::from_borrowed_ptr_or_opt(py, *state.add(places.entered))
    }
}

/// Whether a context is entered, so that nobody else can enter it.
pub(crate) fn is_entered(context: &Bound<'_, PyAny>) -> PyResult<bool> {
    match places(context.py()) {
        // SAFETY: a context has a number of 32 bits in that word.
        Some(places) => Ok(unsafe {
            let word = context.as_ptr().cast::<usize>().add(places.is_entered);
            *word as u32 != 0
        }),
        None if super::enter(context)? => super::exit(context).map(|()| false),
        None => Ok(true),
    }
}

/// Makes a context that of the running code, which somebody else has entered; `None` leaves such a one.
///
/// Only where its place is known, as otherwise nobody leaves a context that another has to enter.
pub(crate) fn assume(py: Python<'_>, context: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let Some(places) = places(py) else {
        return Ok(());
    };
    let new = context.map_or(ptr::null_mut(), |context| context.clone().into_ptr());
    // SAFETY: the word owns a reference to a context, or is null, before and after.
    let old = unsafe {
        let word = ffi::PyThreadState_Get()
            .cast::<Object>()
            .add(places.entered);
        Bound::from_owned_ptr_or_opt(py, word.replace(new))
    };
    // What CPython remembers of the variables it forgets when any context is entered or left.
    let other = empty(py)?;
    super::enter(&other)?;
    let left = super::exit(&other);
    drop(old);
    left
}

/// A context without variables that nobody knows.
#[inline]
pub(crate) fn blank(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    match SPARE.take(py) {
        Some(spare) => Ok(spare.into_bound(py)),
        None => empty(py),
    }
}

/// Exchanges the variables of a context that nobody has entered for others, which [`variables`] gave.
#[inline]
pub(crate) fn exchange(context: &Bound<'_, PyAny>, variables: &mut Py<PyAny>) {
    let py = context.py();
    if let Some(places) = places(py) {
        // SAFETY: the word owns a reference, before and after; no Python code runs in between. What
        // CPython remembers of a context's variables it forgets when another is entered.
        unsafe {
            let field = context.as_ptr().cast::<Py<PyAny>>().add(places.variables);
            ptr::swap(field, variables);
        }
    }
}

/// Keeps a context that was left as a blank one, if nobody else knows it.
#[inline]
pub(crate) fn give_back(context: Bound<'_, PyAny>) {
    let py = context.py();
    // SAFETY: a live object, of whose class the offset is that of a pointer.
    let is_unknown = unsafe {
        let references = (*ffi::Py_TYPE(context.as_ptr())).tp_weaklistoffset;
        let references = context.as_ptr().byte_offset(references).cast::<Object>();
        ffi::Py_REFCNT(context.as_ptr()) == 1 && (*references).is_null()
    };
    let Some(places) = places(py).filter(|_| is_unknown) else {
        return;
    };
    let mut variables = places.none.clone_ref(py);
    exchange(&context, &mut variables);
    let other = SPARE.replace(py, Some(context.unbind()));
    // Not before: what is freed by it may schedule and run.
    drop((
        variables.into_bound(py),
        other.map(|other| other.into_bound(py)),
    ));
}
