/** A kind of file system. */
export interface FileSystem {
  readonly name: string
  /** What is not good in it for files that are to stay. */
  readonly trouble?: string
  /** Whether what is in it lies on other machines. */
  readonly isRemote?: boolean
}

// statfs(2), linux/magic.h.
const FILE_SYSTEMS: ReadonlyMap<number, FileSystem> = new Map([
  [0xef53, { name: 'ext4' }],
  [0x58465342, { name: 'xfs' }],
  [0x9123683e, { name: 'btrfs' }],
  [0x2fc12fc1, { name: 'zfs' }],
  [0xf2f52010, { name: 'f2fs' }],
  [0x6969, { name: 'nfs', isRemote: true }],
  [0x00c36400, { name: 'ceph', isRemote: true }],
  [0x01021994, { name: 'tmpfs', trouble: 'what is in memory is lost with the power' }],
  [0x794c7630, { name: 'overlayfs', trouble: 'the layer of a container is lost with it' }],
  [0x4d44, { name: 'vfat', trouble: 'it has no hard links and no owners' }],
  [0xff534d42, { name: 'cifs', trouble: 'its links and syncs depend on a server of another kind', isRemote: true }],
  [0xfe534d42, { name: 'smb', trouble: 'its links and syncs depend on a server of another kind', isRemote: true }],
])

/** Says what a type of statfs(2) stands for. */
export function fileSystemOf(type: number): FileSystem {
  return FILE_SYSTEMS.get(type) ?? { name: `of type 0x${type.toString(16)}` }
}
