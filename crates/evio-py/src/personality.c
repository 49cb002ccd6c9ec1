/* See exit.rs. The frames of Rust find their personality routine by this pointer, of which the
 * compiler emits a weak definition into every object; this one is not weak. */

extern int evio_eh_personality(void);

extern int (*const personality)(void) __asm__("DW.ref.rust_eh_personality")
    __attribute__((visibility("hidden")));

int (*const personality)(void) = evio_eh_personality;
