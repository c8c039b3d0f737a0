"""A physical phantom: anatomy, compression, acquisition, and a cohort in BCS-DBT's own format.

`cohort.plan` says who has what, `render.render` makes one volume, `write.write_cohort` a folder that reads like a
BCS-DBT download. The package itself imports nothing, so that its configuration can be read without torch.
"""
