"""Reading tomosynthesis DICOM files: header, encapsulation, codestream, frames."""
