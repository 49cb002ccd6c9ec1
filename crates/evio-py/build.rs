//! Tells the sources which Python they are built for, and links what is no Rust.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let objects = cc::Build::new()
        .file("src/personality.c")
        .compile_intermediates();
    for object in objects {
        println!("cargo:rustc-link-arg-cdylib={}", object.display());
    }
    println!("cargo:rerun-if-changed=src/personality.c");
}
