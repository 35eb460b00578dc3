//! Only measurements live here: see `walk.rs` and the README.
