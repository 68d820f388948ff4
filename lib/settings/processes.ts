import { amount } from './setting.ts'

/** In how many processes the server runs. */
export const PROCESSES = {
  workers: amount({
    variable: 'REPROSCHEMA_BACKEND_WORKERS',
    flag: 'workers',
    description: 'processes that serve the port together',
    fallback: 1,
    least: 1,
    most: 64,
  }),
}
