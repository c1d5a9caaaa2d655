//! Pictures as planes of samples, and making them smaller.

/// Samples of one kind, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Vec<u8>,
}

/// A picture as JFIF has it: luma and two planes of chroma, BT.601, 0 to 255.
/// Its samples are square.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) luma: Plane,
    /// Blue and red difference; of half the luma's sides, rounded up, or of
    /// the same.
    pub(super) chroma: [Plane; 2],
}

impl Plane {
    /// From rows that are `stride` apart. `None` when there are too few.
    pub(super) fn from_rows(
        samples: &[u8],
        stride: usize,
        width: usize,
        height: usize,
    ) -> Option<Self> {
        let mut own = Vec::with_capacity(width * height);
        for row in 0..height {
            own.extend_from_slice(samples.get(row * stride..row * stride + width)?);
        }
        Some(Self { width, height, samples: own })
    }

    /// A plane of one value.
    pub(super) fn flat(width: usize, height: usize, value: u8) -> Self {
        Self { width, height, samples: vec![value; width * height] }
    }

    /// Row `row`, or the last one beyond it.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        let row = row.min(self.height.saturating_sub(1));
        &self.samples[row * self.width..][..self.width]
    }

    /// The plane in `width` x `height` samples, each the mean of the area that
    /// it covers: no sample is left out, so that thin lines do not flicker.
    pub(super) fn scaled(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let columns = spans(self.width, width);
        let scale = 1.0 / (self.width as f32 * self.height as f32);
        let mut out = Vec::with_capacity(width * height);
        // Weighted sums of the rows, at most 255 x 16,384.
        let mut sums = vec![0u32; self.width];
        for rows in spans(self.height, height) {
            sums.fill(0);
            for (row, weight) in rows.weights() {
                for (sum, &sample) in sums.iter_mut().zip(self.row(row)) {
                    *sum += u32::from(sample) * weight;
                }
            }
            out.extend(columns.iter().map(|columns| {
                let weighted = |(column, weight)| u64::from(sums[column]) * u64::from(weight);
                let sum: u64 = columns.weights().map(weighted).sum();
                (sum as f32 * scale + 0.5) as u8
            }));
        }
        Self { width, height, samples: out }
    }
}

/// What one sample of a scaled row or column covers of the original ones.
/// Lengths are in parts of an original sample, as many as there are scaled
/// ones, so that all is whole numbers; the weights of each span add up to
/// the number of original samples.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: usize,
    last: usize,
    first_weight: u32,
    last_weight: u32,
    whole: u32,
}

impl Span {
    fn weights(self) -> impl Iterator<Item = (usize, u32)> {
        let Self { first, last, first_weight, last_weight, whole } = self;
        (first..=last).map(move |at| {
            let weight = match at {
                _ if at == first => first_weight,
                _ if at == last => last_weight,
                _ => whole,
            };
            (at, weight)
        })
    }
}

fn spans(from: usize, to: usize) -> Vec<Span> {
    let span = |at: usize| {
        let (start, end) = (at * from, (at + 1) * from);
        let (first, last) = (start / to, (end - 1) / to);
        let first_end = ((first + 1) * to).min(end);
        Span {
            first,
            last,
            first_weight: (first_end - start) as u32,
            last_weight: (end - last * to) as u32,
            whole: to as u32,
        }
    };
    (0..to).map(span).collect()
}

impl Picture {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let [blue, red] = &self.chroma;
        self.luma.samples.len() + blue.samples.len() + red.samples.len()
    }

    /// The size of the picture at most `width` wide; it is never made larger.
    pub(super) fn size_within(&self, width: Option<u16>) -> (usize, usize) {
        let (own, height) = (self.luma.width, self.luma.height);
        match width.map(usize::from) {
            Some(width) if width < own => (width.max(1), ((height * width + own / 2) / own).max(1)),
            _ => (own, height),
        }
    }

    /// The picture in that size, 4:2:0.
    pub(super) fn scaled(&self, width: usize, height: usize) -> Self {
        let chroma = |plane: &Plane| plane.scaled(width.div_ceil(2), height.div_ceil(2));
        Self {
            luma: self.luma.scaled(width, height),
            chroma: [chroma(&self.chroma[0]), chroma(&self.chroma[1])],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(width: usize, samples: &[u8]) -> Plane {
        Plane { width, height: samples.len() / width, samples: samples.to_vec() }
    }

    #[test]
    fn a_sample_is_the_mean_of_the_area_it_covers() {
        let four = plane(4, &[0, 100, 200, 40, 0, 100, 200, 40]);
        assert_eq!(four.scaled(2, 1), plane(2, &[50, 120]));
        assert_eq!(four.scaled(1, 2), plane(1, &[85, 85]));
        // Of three samples the second belongs half to either.
        assert_eq!(plane(3, &[0, 90, 240]).scaled(2, 1), plane(2, &[30, 190]));
        assert_eq!(plane(1, &[0, 90, 240]).scaled(1, 2), plane(1, &[30, 190]));
        assert_eq!(four.scaled(4, 2), four);
    }

    #[test]
    fn white_stays_white_and_black_black_whatever_the_sizes() {
        for (from, to) in [((1920, 1080), (640, 360)), ((355, 289), (160, 130)), ((97, 3), (96, 2))]
        {
            for value in [0, 1, 127, 254, 255] {
                let scaled = Plane::flat(from.0, from.1, value).scaled(to.0, to.1);
                assert_eq!(scaled, Plane::flat(to.0, to.1, value), "{from:?}");
            }
        }
    }

    #[test]
    fn rows_are_taken_out_of_their_stride() {
        let padded = [1, 2, 9, 3, 4, 9, 5, 6];
        assert_eq!(Plane::from_rows(&padded, 3, 2, 3), Some(plane(2, &[1, 2, 3, 4, 5, 6])));
        assert_eq!(Plane::from_rows(&padded, 3, 2, 4), None);
        assert_eq!(Plane::from_rows(&padded, 3, 2, 3).unwrap().row(7), [5, 6]);
    }

    #[test]
    fn a_picture_is_never_made_larger() {
        let flat = |w, h| Plane::flat(w, h, 0);
        let picture = Picture { luma: flat(355, 289), chroma: [flat(178, 145), flat(178, 145)] };
        assert_eq!(picture.size_within(Some(640)), (355, 289));
        assert_eq!(picture.size_within(None), (355, 289));
        assert_eq!(picture.size_within(Some(160)), (160, 130));
        let small = picture.scaled(161, 131);
        assert_eq!((small.chroma[0].width, small.chroma[0].height), (81, 66));
        assert_eq!(small.bytes(), 161 * 131 + 2 * 81 * 66);
    }
}
