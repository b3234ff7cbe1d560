/** A lab's daemon whose engines are plain bridges: `in` and `out` joined, nothing decided. Started by lab-under-test.ts. */
import { serveLab } from '../../src/lab/world/daemon.ts';

const BUMP = [
  'ip link add bump type bridge stp_state 0 forward_delay 0 mcast_snooping 0',
  'ip link set bump up',
  'ip link set out master bump',
  'ip link set in master bump',
  'exec sleep 1000000',
].join('; ');

const daemon = await serveLab({
  lab: process.argv[2]!,
  engineProgram: ['sh', '-c', BUMP, 'engine'],
  cloud: process.argv[3] === 'lab' ? 'lab' : 'vcenter',
  switches: process.argv[3] === 'vcenter-standard' ? 'standard' : 'distributed',
});
process.once('SIGTERM', () => void daemon.close().then(() => process.exit(0)));
