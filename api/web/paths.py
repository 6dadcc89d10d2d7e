"""Which path of the JSON gateway is which method: those of etcd v3, which its clients know.

Values only. `/v3beta` has them too, as in etcd 3.5; `/v3alpha` is gone.
"""

PREFIXES = ("/v3", "/v3beta")

_KV, _LEASE = "etcdserverpb.KV", "etcdserverpb.Lease"
_CLUSTER, _AUTH = "etcdserverpb.Cluster", "etcdserverpb.Auth"
_MAINTENANCE = "etcdserverpb.Maintenance"

# (service, name of the method): its paths, without the prefix.
PATHS: dict[tuple[str, str], tuple[str, ...]] = {
    (_KV, "Range"): ("/kv/range",),
    (_KV, "Put"): ("/kv/put",),
    (_KV, "DeleteRange"): ("/kv/deleterange",),
    (_KV, "Txn"): ("/kv/txn",),
    (_KV, "Compact"): ("/kv/compaction",),
    ("etcdserverpb.Watch", "Watch"): ("/watch",),
    (_LEASE, "LeaseGrant"): ("/lease/grant",),
    (_LEASE, "LeaseRevoke"): ("/lease/revoke", "/kv/lease/revoke"),
    (_LEASE, "LeaseKeepAlive"): ("/lease/keepalive",),
    (_LEASE, "LeaseTimeToLive"): ("/lease/timetolive", "/kv/lease/timetolive"),
    (_LEASE, "LeaseLeases"): ("/lease/leases", "/kv/lease/leases"),
    (_CLUSTER, "MemberAdd"): ("/cluster/member/add",),
    (_CLUSTER, "MemberRemove"): ("/cluster/member/remove",),
    (_CLUSTER, "MemberUpdate"): ("/cluster/member/update",),
    (_CLUSTER, "MemberList"): ("/cluster/member/list",),
    (_CLUSTER, "MemberPromote"): ("/cluster/member/promote",),
    (_MAINTENANCE, "Alarm"): ("/maintenance/alarm",),
    (_MAINTENANCE, "Status"): ("/maintenance/status",),
    (_MAINTENANCE, "Defragment"): ("/maintenance/defragment",),
    (_MAINTENANCE, "Hash"): ("/maintenance/hash",),
    (_MAINTENANCE, "HashKV"): ("/maintenance/hashkv",),
    (_MAINTENANCE, "Snapshot"): ("/maintenance/snapshot",),
    (_MAINTENANCE, "MoveLeader"): ("/maintenance/transfer-leadership",),
    (_MAINTENANCE, "Downgrade"): ("/maintenance/downgrade",),
    (_AUTH, "AuthEnable"): ("/auth/enable",),
    (_AUTH, "AuthDisable"): ("/auth/disable",),
    (_AUTH, "AuthStatus"): ("/auth/status",),
    (_AUTH, "Authenticate"): ("/auth/authenticate",),
    (_AUTH, "UserAdd"): ("/auth/user/add",),
    (_AUTH, "UserGet"): ("/auth/user/get",),
    (_AUTH, "UserList"): ("/auth/user/list",),
    (_AUTH, "UserDelete"): ("/auth/user/delete",),
    (_AUTH, "UserChangePassword"): ("/auth/user/changepw",),
    (_AUTH, "UserGrantRole"): ("/auth/user/grant",),
    (_AUTH, "UserRevokeRole"): ("/auth/user/revoke",),
    (_AUTH, "RoleAdd"): ("/auth/role/add",),
    (_AUTH, "RoleGet"): ("/auth/role/get",),
    (_AUTH, "RoleList"): ("/auth/role/list",),
    (_AUTH, "RoleDelete"): ("/auth/role/delete",),
    (_AUTH, "RoleGrantPermission"): ("/auth/role/grant",),
    (_AUTH, "RoleRevokePermission"): ("/auth/role/revoke",),
    ("v3lockpb.Lock", "Lock"): ("/lock/lock",),
    ("v3lockpb.Lock", "Unlock"): ("/lock/unlock",),
    ("v3electionpb.Election", "Campaign"): ("/election/campaign",),
    ("v3electionpb.Election", "Proclaim"): ("/election/proclaim",),
    ("v3electionpb.Election", "Leader"): ("/election/leader",),
    ("v3electionpb.Election", "Observe"): ("/election/observe",),
    ("v3electionpb.Election", "Resign"): ("/election/resign",),
}
