/**
 * The unit with which systemd runs a service of Veneer's.
 *
 * @module
 */

/**
 * A word of `ExecStart=`: quoted, with the characters that systemd would expand doubled
 * (systemd.service(5)).
 */
function execWord(word: string): string {
  const plain = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w@%+=:,./$-]+$/.test(plain) ? plain : JSON.stringify(plain);
}

/** The engines that a service can serve, with the units that start after it. */
const ENGINES = {
  containerd: "containerd.service docker.service buildkit.service",
  docker: "docker.service",
} as const;
export type ServedEngine = keyof typeof ENGINES;

/**
 * A unit for `veneer serve ENGINE`.
 *
 * - The service is ready when its socket exists, and ends after the calls in progress.
 * - Mounts and their counts outlive the service. So the unit has no `RuntimeDirectory=`, which
 *   systemd would delete when the service ends, and no separate mount namespace, because engines
 *   would not see mounts in it.
 *
 * @param command the service's command line: the program's absolute path first
 */
export function systemdUnit(engine: ServedEngine, command: readonly string[]): string {
  return `[Unit]
Description=Veneer: storage of container layers for ${engine}
Documentation=man:veneer(1)
Before=${ENGINES[engine]}
After=local-fs.target

[Service]
Type=notify
NotifyAccess=main
ExecStart=${command.map(execWord).join(" ")}
Restart=on-failure
RestartSec=1
KillMode=mixed
TimeoutStopSec=45
PrivateMounts=no
LimitNOFILE=1048576
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
`;
}
