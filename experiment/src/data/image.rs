//! Pictures as tensors, in the manner of Triton's image client.

use anyhow::{Context, Result, bail};
use half::{bf16, f16};
use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use std::io::Cursor;

use super::row::{Form, Tensor};
use crate::plan::ImageScaling as Scaling;

/// The largest picture that is decoded, in pixels of a side.
const LARGEST_SIDE: u32 = 1 << 15;

/// The most memory that decoding may take.
const MOST_MEMORY: u64 = 1 << 30;

/// Where a tensor has its colours.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    height: u32,
    width: u32,
    channels: usize,
    channels_first: bool,
}

impl Layout {
    /// Of a row of this shape; none if it is no picture's.
    fn of(row: &[i64]) -> Option<Self> {
        let size = |dim: i64| u32::try_from(dim).ok().filter(|size| (1..=LARGEST_SIDE).contains(size));
        let (height, width, channels, channels_first) = match *row {
            [height, width] => (height, width, 1, false),
            [height, width, channels @ (1 | 3)] => (height, width, channels, false),
            [channels @ (1 | 3), height, width] => (height, width, channels, true),
            _ => return None,
        };
        Some(Self { height: size(height)?, width: size(width)?, channels: channels as usize, channels_first })
    }
}

/// A PNG or JPEG file as a row of this form: resized to its height and width (bilinear, over all pixels that a new one
/// covers), in RGB or gray by its number of channels, and scaled.
///
/// # Errors
/// It cannot be decoded, or the form is not that of a picture.
pub fn read(bytes: &[u8], form: &Form, scaling: Scaling) -> Result<Tensor> {
    let Form { name, datatype, row } = form;
    let layout = Layout::of(row).with_context(|| {
        format!(
            "input '{name}' with rows of {row:?} is no picture: expected [height, width, 3], [3, height, width], 1 in \
             place of 3 for gray, or [height, width]; where sizes are variable give them with --shape {name}=D,D,..."
        )
    })?;
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let picture = reader.decode().context("it cannot be decoded: expected PNG or JPEG")?;
    let values = pixels(&picture, layout);
    let mut tensor = Vec::new();
    for (place, value) in values.iter().enumerate() {
        let channel = match layout.channels_first {
            true => place / (layout.height as usize * layout.width as usize),
            false => place % layout.channels,
        };
        push(&mut tensor, datatype, *value, scaling, channel, layout.channels)
            .with_context(|| format!("input '{name}'"))?;
    }
    Ok(Tensor { shape: row.clone(), bytes: tensor.into() })
}

/// The values of the resized picture, in the tensor's order.
fn pixels(picture: &DynamicImage, layout: Layout) -> Vec<u8> {
    let Layout { height, width, channels, channels_first } = layout;
    // A palette and an alpha channel are resolved first, as colours are mixed.
    let plain = match channels {
        1 => DynamicImage::ImageLuma8(picture.to_luma8()),
        _ => DynamicImage::ImageRgb8(picture.to_rgb8()),
    };
    let resized = match (plain.height(), plain.width()) == (height, width) {
        true => plain,
        false => plain.resize_exact(width, height, FilterType::Triangle),
    };
    let bytes = resized.into_bytes();
    match channels_first {
        true => {
            (0..channels).flat_map(|channel| bytes.iter().skip(channel).step_by(channels).copied()).collect()
        }
        false => bytes,
    }
}

fn push(
    tensor: &mut Vec<u8>,
    datatype: &str,
    value: u8,
    scaling: Scaling,
    channel: usize,
    channels: usize,
) -> Result<()> {
    if datatype == "UINT8" && scaling == Scaling::None {
        tensor.push(value);
        return Ok(());
    }
    let value = f32::from(value);
    let scaled = match scaling {
        Scaling::None => value,
        Scaling::Unit => value / 255.0,
        Scaling::Inception => value / 127.5 - 1.0,
        Scaling::Vgg => value - if channels == 3 { [123.0, 117.0, 104.0][channel] } else { 128.0 },
    };
    match datatype {
        "FP32" => tensor.extend(scaled.to_le_bytes()),
        "FP64" => tensor.extend(f64::from(scaled).to_le_bytes()),
        "FP16" => tensor.extend(f16::from_f32(scaled).to_le_bytes()),
        "BF16" => tensor.extend(bf16::from_f32(scaled).to_le_bytes()),
        "INT32" if scaling == Scaling::None => tensor.extend((scaled as i32).to_le_bytes()),
        _ => bail!(
            "a picture cannot be {datatype} with this --image-scaling: expected a float, or UINT8 or INT32 with none"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    fn png(picture: RgbImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    fn form(datatype: &str, row: &[i64]) -> Form {
        Form { name: "x".to_owned(), datatype: datatype.to_owned(), row: row.to_vec() }
    }

    /// One row: red, then a colour of its own in each channel.
    fn two_pixels() -> Vec<u8> {
        png(RgbImage::from_fn(2, 1, |x, _| if x == 0 { Rgb([255, 0, 0]) } else { Rgb([10, 20, 30]) }))
    }

    #[test]
    fn a_picture_of_the_right_size_is_taken_as_it_is() {
        let bytes = |row: &[i64]| read(&two_pixels(), &form("UINT8", row), Scaling::None).unwrap().bytes;
        assert_eq!(bytes(&[1, 2, 3])[..], [255, 0, 0, 10, 20, 30]);
        assert_eq!(bytes(&[3, 1, 2])[..], [255, 10, 0, 20, 0, 30]);
        assert_eq!(bytes(&[1, 2]).len(), 2);
    }

    #[test]
    fn values_are_scaled_as_the_name_says() {
        let floats = |scaling| {
            let tensor = read(&two_pixels(), &form("FP32", &[3, 1, 2]), scaling).unwrap();
            tensor
                .bytes
                .chunks(4)
                .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
                .collect::<Vec<f32>>()
        };
        assert_eq!(floats(Scaling::None), [255.0, 10.0, 0.0, 20.0, 0.0, 30.0]);
        assert_eq!(floats(Scaling::Unit)[0], 1.0);
        assert_eq!(floats(Scaling::Inception)[..3], [1.0, 10.0 / 127.5 - 1.0, -1.0]);
        assert_eq!(floats(Scaling::Vgg), [132.0, -113.0, -117.0, -97.0, -104.0, -74.0]);
        let error = read(&two_pixels(), &form("INT8", &[1, 2, 3]), Scaling::None).unwrap_err();
        assert!(format!("{error:#}").contains("cannot be INT8"), "{error:#}");
    }

    #[test]
    fn a_picture_is_resized_to_the_model() {
        let even = png(RgbImage::from_pixel(64, 48, Rgb([9, 9, 9])));
        let tensor = read(&even, &form("UINT8", &[5, 7, 3]), Scaling::None).unwrap();
        assert_eq!((tensor.shape.as_slice(), tensor.bytes.as_ref()), (&[5, 7, 3][..], &[9; 105][..]));
        // Half black and half white: made smaller, the one pixel is gray.
        let halves = png(RgbImage::from_fn(64, 64, |x, _| Rgb([if x < 32 { 0 } else { 255 }; 3])));
        let one = read(&halves, &form("UINT8", &[1, 1, 1]), Scaling::None).unwrap();
        assert!((120..=135).contains(&one.bytes[0]), "{:?}", one.bytes);
    }

    #[test]
    fn what_is_no_picture_is_told() {
        for (bytes, row, part) in [
            (b"text".to_vec(), vec![1, 2, 3], "cannot be decoded"),
            (two_pixels()[..40].to_vec(), vec![1, 2, 3], "cannot be decoded"),
            (two_pixels(), vec![1000], "is no picture"),
            (two_pixels(), vec![-1, -1, 3], "--shape x=D,D"),
            (two_pixels(), vec![2, 2, 4], "is no picture"),
        ] {
            let error = format!("{:#}", read(&bytes, &form("FP32", &row), Scaling::None).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
