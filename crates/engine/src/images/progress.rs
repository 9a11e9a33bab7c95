//! How far the layers of an image are, for whoever shows it.

pub use store::LayerState;

/// Told of the layers of an image as they come. Called from several threads.
pub trait Progress: Sync {
    /// Once, before all else: each layer's digest, and its bytes as far as they are known.
    fn begin(&self, layers: &[(String, Option<u64>)]);

    /// The layer at that position.
    fn layer(&self, at: usize, state: LayerState);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &[(String, Option<u64>)]) {}

    fn layer(&self, _: usize, _: LayerState) {}
}
