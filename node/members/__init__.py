"""Who belongs to the cluster: the replicated record of it, and everything that changes it.

    keeper (on the loop)
       |         |          \\
    planning  promotion  handover    roster (for the sockets)    registration (a thread)
       |         |           |          |
    guards       |           |          |
       |         |           |          |
    drafts       |           |          |
       +------ records ------+----------+

The record is the one source of truth. It stands in the log (as configuration changes) and in the
`configuration` of every snapshot; settings name members at a cluster's birth only.
"""
