"""One volume as a DICOM file, laid out as BCS-DBT's files are.

Breast Tomosynthesis Image Storage, multi-frame, JPEG 2000 lossless. As there, window and laterality
lie in the shared functional groups, the frame laterality always reads L, and there is no pixel
spacing. The codestream says 10 bits, as the standard asks; BCS-DBT's says 16.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, BinaryIO

from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID, BreastTomosynthesisImageStorage, JPEG2000Lossless

from dbtssl.phantom.model.geometry import SOURCE_DISTANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume

MANUFACTURER = "dbtssl phantom"
STUDY_DESCRIPTION = "PHANTOM SCREEN BREAST TOMOSYNTHESIS BILATERAL"  # of ill and healthy alike
SERIES_NUMBER = {"lcc": 1, "lmlo": 2, "rcc": 3, "rmlo": 4}
BITS = 10
FRAME_LATERALITY = "L"  # whatever the side, as in BCS-DBT
VIEW_CODES = {"cc": ("399162004", "cranio-caudal"), "mlo": ("399368009", "medio-lateral oblique")}
IMAGE_TYPE = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"]
IMPLEMENTATION = UID("2.25.245014018535962465291174080802777342503")
NAMESPACE = uuid.UUID("875f1d69-eb90-4c00-bd57-219873dd4bce")


def study_uid(cohort: str, volume: PlannedVolume) -> UID:
    """StudyInstanceUID of the volume's study in the cohort called ``cohort``."""
    return _uid("study", cohort, volume.study)


def series_uid(cohort: str, volume: PlannedVolume) -> UID:
    """SeriesInstanceUID of the volume, which has a series of its own."""
    return _uid("series", cohort, volume.id)


def write_dicom(
    file: BinaryIO, pixels: NDArray[np.uint16], volume: PlannedVolume, cohort: str
) -> None:
    """Write frames of shape ``(frames, rows, columns)``, as they are to be stored.

    Raises OSError as writing does.
    """
    data = header(volume, cohort)
    data.PixelData = encapsulate([encode_array(frame, bits_stored=BITS) for frame in pixels])
    data["PixelData"].VR = "OB"
    dcmwrite(file, data, enforce_file_format=True)


def header(volume: PlannedVolume, cohort: str) -> Dataset:
    """All elements but the pixels."""
    projection = volume.positioning.projection
    instance = _uid("instance", cohort, volume.id)
    thickness = f"{volume.thickness:.1f}"
    code, meaning = VIEW_CODES[projection]
    data = _dataset(
        SpecificCharacterSet="ISO_IR 100",
        ImageType=IMAGE_TYPE,
        SOPClassUID=BreastTomosynthesisImageStorage,
        SOPInstanceUID=instance,
        StudyDate="20000101",
        ContentDate="20000101",
        StudyTime="000000",
        ContentTime="000000",
        AccessionNumber="",
        Modality="MG",
        Manufacturer=MANUFACTURER,
        ReferringPhysicianName="",
        StudyDescription=STUDY_DESCRIPTION,
        ManufacturerModelName=MANUFACTURER,
        PixelPresentation="MONOCHROME",
        VolumetricProperties="SAMPLED",
        VolumeBasedCalculationTechnique="TOMOSYNTHESIS",
        PatientName=volume.patient,
        PatientID=volume.patient,
        PatientBirthDate="",
        PatientSex="F",
        PatientIdentityRemoved="YES",
        DeidentificationMethod="simulated: there is no patient",
        BodyPartExamined="BREAST",
        ViewPosition=projection.upper(),
        ContentQualification="RESEARCH",
        XRay3DAcquisitionSequence=[
            _dataset(DistanceSourceToDetector=f"{SOURCE_DISTANCE:.1f}", BodyPartThickness=thickness)
        ],
        StudyInstanceUID=study_uid(cohort, volume),
        SeriesInstanceUID=series_uid(cohort, volume),
        StudyID=volume.study,
        SeriesNumber=SERIES_NUMBER[volume.view],
        InstanceNumber=1,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        NumberOfFrames=volume.n_slices,
        Rows=volume.rows,
        Columns=volume.columns,
        BitsAllocated=16,
        BitsStored=BITS,
        HighBit=BITS - 1,
        PixelRepresentation=0,
        PixelPaddingValue=0,
        BurnedInAnnotation="NO",
        BreastImplantPresent="NO",
        LossyImageCompression="00",
        ViewCodeSequence=[
            _dataset(CodeValue=code, CodingSchemeDesignator="SCT", CodeMeaning=meaning)
        ],
        PresentationLUTShape="IDENTITY",
        SharedFunctionalGroupsSequence=[_shared_groups(thickness)],
    )
    frame = _dataset(FrameContentSequence=[_dataset(FrameAcquisitionNumber=1)])
    data.PerFrameFunctionalGroupsSequence = Sequence([frame] * volume.n_slices)
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = BreastTomosynthesisImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = instance
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.file_meta.ImplementationClassUID = IMPLEMENTATION
    return data


def _shared_groups(thickness: str) -> Dataset:
    breast = _dataset(CodeValue="76752008", CodingSchemeDesignator="SCT", CodeMeaning="Breast")
    return _dataset(
        FrameAnatomySequence=[
            _dataset(AnatomicRegionSequence=[breast], FrameLaterality=FRAME_LATERALITY)
        ],
        PixelMeasuresSequence=[_dataset(SliceThickness=thickness)],
        FrameVOILUTSequence=[_dataset(WindowCenter="512.0", WindowWidth="512.0")],
        PixelValueTransformationSequence=[
            _dataset(RescaleIntercept="0.0", RescaleSlope="1.0", RescaleType="US")
        ],
    )


def _dataset(**elements: Any) -> Dataset:
    data = Dataset()
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return data


def _uid(*words: str) -> UID:
    """A UID that depends on ``words`` alone: 2.25 and a name-based UUID (PS3.5, annex B.2)."""
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(words)).int}")
