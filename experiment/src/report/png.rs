//! SVG to PNG, with a built-in font.

use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// Pixels of the picture for each pixel of the SVG.
const SCALE: f32 = 2.0;

/// Draws SVGs. Uses only DejaVu Sans and no font of the machine, so that pictures are the same everywhere.
pub struct Renderer(Options<'static>);

impl Renderer {
    /// Loads the font.
    pub fn new() -> Self {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Self(Options { fontdb: Arc::new(fonts), ..Options::default() })
    }

    /// The picture of an SVG, two pixels for each of its own.
    ///
    /// # Errors
    ///
    /// The text is not an SVG.
    pub fn png(&self, svg: &str) -> Result<Vec<u8>> {
        let tree = Tree::from_str(svg, &self.0).context("expected a well-formed SVG")?;
        let size = tree.size().to_int_size().scale_by(SCALE).context("expected an SVG with an area")?;
        let mut picture =
            Pixmap::new(size.width(), size.height()).context("expected an SVG that fits into memory")?;
        resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut picture.as_mut());
        picture.encode_png().context("could not encode the PNG")
    }
}
