"""The commands of ``dbtssl data``, one file each."""
